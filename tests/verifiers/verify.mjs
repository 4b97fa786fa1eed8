// Whether npm's `standardwebhooks` takes a request, JSON on standard input, for genuine: prints
// "accepted" or "refused". Anything else is an error, with another exit code.
//
//     node verify.mjs DIRECTORY    (where scripts/verifiers.sh installed the library)
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(secret).verify(body, headers);
  console.log("accepted");
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.log("refused");
}
