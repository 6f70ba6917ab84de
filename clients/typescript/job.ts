// The job of ../README.md with the types that openapi-typescript makes, called by openapi-fetch.
//
//     POSTHOUSE_URL=http://127.0.0.1:8080 POSTHOUSE_KEY=... node build/job.js example.com /srv/mail/example.com
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api";

// What this program uses of Node.js, so that it needs no types of it.
declare const process: { argv: string[]; env: Record<string, string | undefined> };

type Problem = components["schemas"]["ProblemDetails"];

const [domain, folder] = process.argv.slice(2);
if (domain === undefined || folder === undefined) throw new Error("usage: job.js DOMAIN FOLDER");

const api = createClient<paths>({
  baseUrl: process.env["POSTHOUSE_URL"] ?? "http://127.0.0.1:8080",
  headers: { Authorization: `Bearer ${process.env["POSTHOUSE_KEY"]}` },
});

function refused(problem: Problem): Error {
  return new Error(problem.detail ?? problem.title);
}

async function rename(hostname: string): Promise<string> {
  const { data, error, response } = await api.GET("/v1/settings/general");
  if (data === undefined) throw refused(error);
  const changed = await api.PUT("/v1/settings/general", {
    // 412 would mean that somebody else has changed it since: read and change it again.
    params: { header: { "If-Match": response.headers.get("ETag") ?? "" } },
    body: { ...data, profile: { ...data.profile, hostname } },
  });
  if (changed.data === undefined) throw refused(changed.error);
  return changed.data.profile.hostname;
}

async function addDomain(name: string, path: string) {
  return api.POST("/v1/local-domains", {
    // The same key again would give the same answer again, and make no second domain.
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { name, mailbox: { kind: "maildir", path } },
  });
}

async function addAccount(address: string): Promise<void> {
  const { error } = await api.POST("/v1/accounts", {
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
    body: { login: address, password: "correct horse battery staple", addresses: [address] },
  });
  if (error !== undefined) throw refused(error);
}

async function addresses(): Promise<string[]> {
  const listed: string[] = [];
  for (let cursor: string | null = null; ; ) {
    const query: { limit: number; cursor?: string } = cursor === null ? { limit: 2 } : { limit: 2, cursor };
    const { data, error } = await api.GET("/v1/accounts", { params: { query } });
    if (data === undefined) throw refused(error);
    for (const account of data.items) listed.push(...(account.addresses ?? []));
    if (data.next_cursor === null) return listed.sort();
    cursor = data.next_cursor;
  }
}

const hostname = await rename(`gateway.${domain}`);
const made = await addDomain(domain, folder);
if (made.data === undefined) throw refused(made.error);
for (const name of ["alice", "bob", "carol"]) await addAccount(`${name}@${domain}`);
const again = await addDomain(domain, folder);
const refusal = again.error?.type.split(":").pop() ?? "";
console.log(JSON.stringify({ hostname, domain_id: made.data.id, addresses: await addresses(), refusal }));
