"""Drives the built-in vector engine with the official client.

usage: client.py rest|grpc REST_PORT GRPC_PORT contract|queries|mistakes|crowd|keeping
"""

import sys
import warnings

# A client that finds the server's version unsuitable warns.
warnings.simplefilter("error")

from common import connect
from contract import contract
from crowd import crowd
from keeping import keeping
from mistakes import mistakes
from queries import queries

client = connect()
{"contract": contract, "queries": queries, "mistakes": mistakes, "crowd": crowd, "keeping": keeping}[sys.argv[4]](client)
client.close()
