// A real provider with one person in it: node provider.js PORT PORTAL-ADDRESS
// Each log-in succeeds at once, as the person and by the means that the file "person.json" beside it says.
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const [port, portal, personFile] = process.argv.slice(2);
const person = () => JSON.parse(readFileSync(personFile, "utf8"));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: "mycert",
      client_secret: "s3cret & more: +/=%",
      redirect_uris: [`${portal}/login/callback`],
      post_logout_redirect_uris: [`${portal}/`],
      backchannel_logout_uri: `${portal}/login/ended`,
      backchannel_logout_session_required: true,
      id_token_signed_response_alg: "RS256",
      require_auth_time: true,
    },
  ],
  pkce: { required: () => true },
  acrValues: ["luxtrust"],
  conformIdTokenClaims: false,
  claims: {
    openid: [
      "sub", "acr", "auth_time", "account_status", "primary_identifier", "ehealth_id",
      "given_name", "family_name", "profession_code", "profession_label",
    ],
  },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  // Its guard against calls to internal addresses would keep it from our test on loopback.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id, ...person().claims }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
});

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith("/interaction/")) return next();
  const { deny, age = 0, acr } = person();
  const result = deny
    ? { error: "access_denied", error_description: "the person turned away" }
    : { login: { accountId: "person-1", acr, ts: Math.floor(Date.now() / 1000) - age, remember: true } };
  await provider.interactionFinished(ctx.req, ctx.res, result);
});

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
