"""Whether PyPI's `standardwebhooks` takes a request, JSON on standard input, for genuine: prints
"accepted" or "refused". Anything else is an error, with another exit code.

    python3 verify.py DIRECTORY    (where scripts/verifiers.sh installed the library)
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(sys.argv[1], "python"))
from standardwebhooks import Webhook, WebhookVerificationError  # noqa: E402

request = json.load(sys.stdin.buffer)
try:
    Webhook(request["secret"]).verify(request["body"], request["headers"])
    print("accepted")
except WebhookVerificationError:
    print("refused")
