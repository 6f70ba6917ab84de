// Type-checked, never run: what a program that calls the API through the generated types looks like.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/api";

type LocalDomain = components["schemas"]["LocalDomainItem"];

const api = createClient<paths>({ baseUrl: "http://127.0.0.1:8080", headers: { Authorization: "Bearer key" } });

export async function rename(hostname: string): Promise<string> {
  const { data, error, response } = await api.GET("/v1/settings/general");
  if (error) throw new Error(error.title);
  const changed = await api.PUT("/v1/settings/general", {
    params: { header: { "if-match": response.headers.get("ETag") ?? "" } },
    body: { ...data, profile: { ...data.profile, hostname } },
  });
  if (changed.error) throw new Error(changed.error.detail ?? changed.error.title);
  return changed.data.profile.hostname;
}

export async function addDomain(name: string, path: string): Promise<LocalDomain> {
  const { data, error } = await api.POST("/v1/local-domains", {
    body: { name, mailbox: { kind: "maildir", path } },
  });
  if (error) throw new Error(error.title);
  return data;
}
