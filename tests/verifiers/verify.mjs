// Whether a library of npm takes a request, JSON on standard input, for genuine: prints "accepted" or
// "refused". Anything else is an error, with another exit code.
//
//     node verify.mjs DIRECTORY LIBRARY    (where scripts/verifiers.sh installed it; standardwebhooks or svix)
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [directory, library] = process.argv.slice(2);
const require = createRequire(join(resolve(directory), "package.json"));
const { Webhook, WebhookVerificationError } = require(library);

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
try {
  new Webhook(secret).verify(body, headers);
  console.log("accepted");
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.log("refused");
}
