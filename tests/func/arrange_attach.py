"""Arrange and its like of a real gateway, called by gRPC's own client.
   arrange_attach.py MESSAGES AT METHOD REQUEST: AT is the path of a control socket, or PORT,CERTIFICATE[,TOKEN]. REQUEST and the reply, on standard output,
   are JSON; bytes are in hex. In a request "dial_of": FILE stands for the dial that the reply in that file, of the other gateway, asks for.
   A call that is refused: its status and text on standard output, exit code 1."""
import json
import sys

import grpc
from google.protobuf import json_format

sys.path.insert(0, sys.argv[1])
import gateway_pb2 as gw  # noqa: E402

NAMES = {"Arrange": ("ArrangeRequest", "GrantReply"), "Renew": ("RenewRequest", "GrantReply"), "Show": ("ShowRequest", "ShowReply"),
         "Revoke": ("RevokeRequest", "RevokeReply"), "Grants": ("GrantsRequest", "GrantsReply"), "Release": ("ReleaseRequest", "ReleaseReply"),
         "Sessions": ("SessionsRequest", "SessionsReply")}


def channel(at):
    if at.startswith("/"):
        return grpc.insecure_channel("unix:" + at, [("grpc.default_authority", "localhost")]), ()
    port, certificate, token = (at + ",").split(",")[:3]
    credentials = grpc.ssl_channel_credentials(open(certificate, "rb").read())
    return (grpc.secure_channel("127.0.0.1:" + port, credentials, [("grpc.ssl_target_name_override", "localhost")]),
            (("authorization", token),) if token else ())


def take_dial(request, o):
    reply = json.load(open(o.pop("dial_of")))
    dial = request.dial
    dial.addresses.extend(o.pop("dial_addresses", reply["addresses"]))
    dial.pins.extend(o.pop("dial_pins", reply["pins"]))
    dial.secret = bytes.fromhex(o.pop("dial_secret", reply["wan_secret"]))
    dial.role = gw.Role.Value(o.pop("dial_role", reply.get("wan_role", o.get("attach"))))
    dial.expires_s = int(reply["expires_s"])
    request.uid = o.pop("uid", reply["uid"])


def request_of(name, text):
    o = json.loads(text)
    request = getattr(gw, name)()
    if "dial_of" in o:
        take_dial(request, o)
    other = json_format.ParseDict(o, getattr(gw, name)())
    request.MergeFrom(other)
    return request


def readable(reply):
    o = json_format.MessageToDict(reply, preserving_proto_field_name=True)
    for field, value in reply.ListFields():
        if field.type == field.TYPE_BYTES:
            o[field.name] = value.hex()
    return o


def main():
    at, method, text = sys.argv[2:]
    to, metadata = channel(at)
    request, reply = NAMES[method]
    call = to.unary_unary("/scistream.gateway.v1.Gateway/" + method, request_serializer=lambda m: m.SerializeToString(),
                          response_deserializer=getattr(gw, reply).FromString)
    try:
        print(json.dumps(readable(call(request_of(request, text), timeout=30, metadata=metadata))))
    except grpc.RpcError as error:
        print(error.code().name, error.details())
        sys.exit(1)


if __name__ == "__main__":
    main()
