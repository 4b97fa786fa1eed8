"""Whether a library of PyPI takes a request, JSON on standard input, for genuine: prints "accepted" or
"refused". Anything else is an error, with another exit code.

    python3 verify.py DIRECTORY LIBRARY    (where scripts/verifiers.sh installed it; standardwebhooks or svix)
"""

import importlib
import json
import os
import sys

directory, library = sys.argv[1:]
sys.path.insert(0, os.path.join(directory, "python"))
module = importlib.import_module({"svix": "svix.webhooks"}.get(library, library))

request = json.load(sys.stdin.buffer)
try:
    module.Webhook(request["secret"]).verify(request["body"], request["headers"])
    print("accepted")
except module.WebhookVerificationError:
    print("refused")
