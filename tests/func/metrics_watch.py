# Scrapes the page at the address given until it is killed, prints how often; ends when a counter has gone back.
import re, sys, time, urllib.request
last, pages = {}, 0
while True:
    text = urllib.request.urlopen(sys.argv[1], timeout=20).read().decode()
    for line in text.splitlines():
        key, _, value = line.rpartition(" ")
        name = key.split("{")[0]
        if line[0] == "#" or not name.endswith("_total") or name == "scistream_worker_turns_total":
            continue
        if float(value) < last.get(key, 0):
            sys.exit(f"{key} went from {last[key]} to {value}")
        last[key] = float(value)
    pages += 1
    print(pages, flush=True)
    time.sleep(0.02)
