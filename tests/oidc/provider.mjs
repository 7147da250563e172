// A certified OpenID provider with clients and resources for tests. Prints one line of JSON when it
// listens, and ends with its standard input. `POST /_control/rotate` replaces its signing keys,
// `/_control/down` and `/_control/up` take it off and bring it back.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { Provider } from "oidc-provider";

// Nobody reads the standard output after its first line.
console.info = console.error;

const SECRET = "a secret: +&%";

// What each client's tokens say besides.
const CLAIMS = {
  app: { sub: "app", org: "ten_a", realm_access: { roles: ["offline", "llm-auditor"] } },
  "app-mfa": { sub: "app-mfa", org: "ten_a", acr: "urn:example:mfa" },
  stranger: { sub: "stranger", org: "ten_unknown" },
  proxy: {},
};

// What can be asked for; those without a form are opaque.
const RESOURCES = {
  "https://llm-proxy.example/jwt": { audience: "llm-proxy", alg: "RS256" },
  "https://llm-proxy.example/ec": { audience: "llm-proxy", alg: "ES256" },
  "https://llm-proxy.example/ed": { audience: "llm-proxy", alg: "EdDSA" },
  "https://llm-proxy.example/other": { audience: "another-service", alg: "RS256" },
  "https://llm-proxy.example/opaque": { audience: "llm-proxy" },
  "https://llm-proxy.example/opaque-other": { audience: "another-service" },
};

function keys() {
  const make = (type, options) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig" };
  };
  return [
    make("rsa", { modulusLength: 2048 }),
    make("ec", { namedCurve: "P-256" }),
    make("ed25519"),
  ];
}

function provider(issuer) {
  const client = (client_id) => ({
    client_id,
    client_secret: SECRET,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: "client_secret_basic",
  });
  const made = new Provider(issuer, {
    clients: Object.keys(CLAIMS).map(client),
    jwks: { keys: keys() },
    extraTokenClaims: (_ctx, token) => CLAIMS[token.clientId],
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, asking) => asking.clientId === "proxy",
      },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, indicator) => {
          const { audience, alg } = RESOURCES[indicator];
          const format = alg
            ? { accessTokenFormat: "jwt", jwt: { sign: { alg } } }
            : { accessTokenFormat: "opaque" };
          return { scope: "", audience, accessTokenTTL: 600, ...format };
        },
      },
    },
  });
  made.on("server_error", (_ctx, error) => console.error(error));
  return made.callback();
}

let answer;
let down = false;
const server = createServer((request, response) => {
  const control = request.url.match(/^\/_control\/(\w+)$/)?.[1];
  if (control) {
    if (control === "rotate") answer = provider(issuer);
    else down = control === "down";
    response.end("{}");
  } else if (down) {
    request.socket.destroy();
  } else {
    answer(request, response);
  }
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
answer = provider(issuer);
console.log(JSON.stringify({ issuer, secret: SECRET }));
process.stdin.on("end", () => process.exit(0)).resume();
