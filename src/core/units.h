/* Sizes (binary), rates (decimal, bits per second) and durations, parsed and printed the same everywhere. */
#ifndef SRC_CORE_UNITS_H
#define SRC_CORE_UNITS_H

#include "src/core/util.h"

#define UNITS_TEXT 24 /* room for any text made here */
#define TIME_FOREVER UINT64_MAX

/* "0", "4096", "64K", "16M", "1G", "2T" (KiB and so on; also "64KiB", "64k"). 0, -EINVAL (no number, unknown unit, trailing
 * text, fraction) or -ERANGE (above UINT64_MAX). *out is set only on success. */
int units_parse_size(const char *s, uint64_t *out);
/* "10Gbit", "800Mbit", "1.5Gbit", "9600", "0" [bit/s]. Same returns. */
int units_parse_rate(const char *s, uint64_t *out);
/* "10s", "500ms", "20us", "5m", "8h", "2d", plain number = seconds, "forever" = TIME_FOREVER [ns]. Same returns. */
int units_parse_time(const char *s, uint64_t *out);

/* Exact, and parsed back to the same number: "64K", "65537", "10Gbit", "1500ms", "forever". */
const char *units_size(char out[UNITS_TEXT], uint64_t bytes);
const char *units_rate(char out[UNITS_TEXT], uint64_t bits_per_s);
const char *units_time(char out[UNITS_TEXT], uint64_t ns);
/* For people, three digits: "1.23 GiB", "9.87 Gbit/s", "1.5 s", "2:03:04". */
const char *units_human_size(char out[UNITS_TEXT], uint64_t bytes);
const char *units_human_rate(char out[UNITS_TEXT], double bits_per_s);
const char *units_human_time(char out[UNITS_TEXT], uint64_t ns);

/* "2027-01-31T12:00:00Z", also with an offset like +01:00 in place of Z (RFC 3339, whole seconds), as Unix time. 0 or -EINVAL. */
int units_parse_date(const char *s, int64_t *unix_s);
/* The same, with Z. */
const char *units_date(char out[UNITS_TEXT], int64_t unix_s);

/* "1 channel", "2 open channels and 5 connections", "5 open connections", how being "" or "open ". Heap. */
char *units_streams(const char *how, uint64_t channels, uint64_t connections);

#endif
