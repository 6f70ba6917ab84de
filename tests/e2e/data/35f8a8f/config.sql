PRAGMA auto_vacuum=0;
PRAGMA journal_mode=wal;
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0002');
CREATE TABLE audit_log (
	id VARCHAR(64) NOT NULL, 
	at BIGINT NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	client_address VARCHAR(64) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	target VARCHAR(300) NOT NULL, 
	status INTEGER NOT NULL, 
	problem VARCHAR(64) NOT NULL, 
	revision BIGINT, 
	request_id VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "audit_log" VALUES('01a22a1a-1d69-7444-88eb-f7b031e7baa4',1796002684265301,'posthouse','admin','','initialise','settings',200,'',1,'');
INSERT INTO "audit_log" VALUES('01a22a1a-3149-728d-be64-e0ca11aa9339',1796002689353189,'admin','admin','127.0.0.1','createLocalDomain','local-domains/01a22a1a-312f-71a4-a54d-6df6351fea9b',201,'',2,'223ea64214ba4f55a1d0afb28c4058ef');
INSERT INTO "audit_log" VALUES('01a22a1a-3227-76b9-babb-a46de1da6715',1796002689575445,'admin','admin','127.0.0.1','createAccount','accounts/01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae',201,'',3,'95259aa776134ea3badc147745ced6e8');
INSERT INTO "audit_log" VALUES('01a22a1a-326f-7bb8-897c-f7501b62ccc3',1796002689647766,'admin','admin','127.0.0.1','createRelayRule','relay-rules/01a22a1a-323e-70f6-9f8f-e94956108b70',201,'',4,'5986e78d9bbe4b5ba28791846a9b58c7');
INSERT INTO "audit_log" VALUES('01a22a1a-32b9-7d99-b41a-504f0aae0147',1796002689721882,'admin','admin','127.0.0.1','updateGeneralSettings','settings/general',200,'',5,'cbd081193ac14be2911d3ae1d9b3db2e');
CREATE TABLE changes (
	revision BIGINT NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	document_id VARCHAR(64) NOT NULL, 
	"before" TEXT, 
	"after" TEXT, 
	PRIMARY KEY (revision, kind, document_id)
);
INSERT INTO "changes" VALUES(1,'settings/general','settings/general',NULL,'{"smtp_auth":{"enabled":true,"skip_for_local_networks":false,"local_networks":["127.0.0.0/8","::1/128","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","fc00::/7","fe80::/10"],"sender_must_match_login":true,"skip_sender_match_for_trusted_networks":false,"forbid_plaintext_auth_without_tls":true},"profile":{"hostname":"localhost.localdomain","banner":"ESMTP","max_recipients":1000,"recipients_over_limit":"defer_excess","max_hops":50,"max_message_size_mb":25},"external_postmasters":[]}');
INSERT INTO "changes" VALUES(1,'settings/delivery','settings/delivery',NULL,'{"mode":"direct","relay_host":null}');
INSERT INTO "changes" VALUES(1,'settings/queue','settings/queue',NULL,'{"retry_schedule":{"first_minutes":5.0,"growth":1.5,"max_minutes":120.0},"expire_after_hours":120.0,"delay_notice_after_hours":4.0,"bounce_expire_hours":24.0,"max_concurrency_per_destination":20,"max_messages_per_connection":100,"retention_days":7.0}');
INSERT INTO "changes" VALUES(1,'settings/resolvers','settings/resolvers',NULL,'{"preferred":[],"alternate":[]}');
INSERT INTO "changes" VALUES(1,'settings/sender-policy','settings/sender-policy',NULL,'{"reject_non_fqdn_sender":"off","reject_unknown_sender_domain":"off"}');
INSERT INTO "changes" VALUES(1,'settings/connection-policy','settings/connection-policy',NULL,'{"reject_unknown_client_hostname":"off","max_concurrent_connections":50,"max_messages_per_minute":0,"max_connections_per_minute":0}');
INSERT INTO "changes" VALUES(1,'settings/advanced-security','settings/advanced-security',NULL,'{"reject_unauthorized_pipelining":"enforce","reject_non_fqdn_helo":"off","reject_unknown_helo":"off","max_unknown_recipients_per_day":0,"timezone":"UTC","max_junk_commands":100}');
INSERT INTO "changes" VALUES(1,'settings/content-checks','settings/content-checks',NULL,'{"dnsbl":{"mode":"off","zones":[]},"spf":{"mode":"off","on_softfail":"accept","reject_permerror":false},"dkim":{"mode":"off"},"dmarc":{"mode":"off"},"antivirus":{"mode":"off","clamd":"127.0.0.1:3310","on_error":"tempfail","action":"reject","timeout_seconds":60},"arc":{"verify":false}}');
INSERT INTO "changes" VALUES(1,'api-keys','01a22a1a-1d5d-7ba0-844c-89954fa06fbd',NULL,'{"name":"admin","role":"admin","expires_at":null,"prefix":"ph_9e5e4a53d0","key_hash":"4edabb83e8744b010501b40639c9dae2fd07c3d0210bee209a336d1c09e46c3a"}');
INSERT INTO "changes" VALUES(2,'local-domains','01a22a1a-312f-71a4-a54d-6df6351fea9b',NULL,'{"name":"ours.test","mailbox":{"kind":"lmtp","host":"box.test","port":2424},"quarantine_mailbox":null}');
INSERT INTO "changes" VALUES(3,'accounts','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae',NULL,'{"login":"alice","addresses":["alice@ours.test"],"enabled":true,"password":"$argon2id$v=19$m=19456,t=2,p=1$WqiR/RHylxbsrNzTyHcMbA$F0f0tHU/aTKtOlNvtAEMRoXqCwKDpmIjM2Wn7IPGSrU"}');
INSERT INTO "changes" VALUES(4,'relay-rules','01a22a1a-323e-70f6-9f8f-e94956108b70',NULL,'{"name":"by smart host","type":"recipient","target_type":"domain","targets":["far.test"],"relay_host":{"host":"smart.test","port":2525,"always_tls":true,"implicit_tls":false,"verify_certificate":true,"auth":{"username":"gateway","allow_without_tls":false,"password":"gAAAAABrDNOBiIH8rvaOXgrp1mQxmbRw7xMv5gccMEINsX9Ou2ZcPX_6h6BHcnIVkFHyeFixc7_RQavyynp3TroPTU1Zyvoleg=="}},"position":0,"enabled":true}');
INSERT INTO "changes" VALUES(5,'settings/general','settings/general','{"smtp_auth":{"enabled":true,"skip_for_local_networks":false,"local_networks":["127.0.0.0/8","::1/128","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","fc00::/7","fe80::/10"],"sender_must_match_login":true,"skip_sender_match_for_trusted_networks":false,"forbid_plaintext_auth_without_tls":true},"profile":{"hostname":"localhost.localdomain","banner":"ESMTP","max_recipients":1000,"recipients_over_limit":"defer_excess","max_hops":50,"max_message_size_mb":25},"external_postmasters":[]}','{"smtp_auth":{"enabled":true,"skip_for_local_networks":false,"local_networks":["127.0.0.0/8","::1/128","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","fc00::/7","fe80::/10"],"sender_must_match_login":true,"skip_sender_match_for_trusted_networks":false,"forbid_plaintext_auth_without_tls":true},"profile":{"hostname":"localhost.localdomain","banner":"ESMTP 5e5334bbc94747ad875fd0732d5c883d","max_recipients":1000,"recipients_over_limit":"defer_excess","max_hops":50,"max_message_size_mb":25},"external_postmasters":[]}');
CREATE TABLE documents (
	kind VARCHAR(64) NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	body TEXT NOT NULL, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	PRIMARY KEY (kind, id)
);
INSERT INTO "documents" VALUES('internal/secret-key','mark','{"sealed":"gAAAAABrDNN8mbAsvLgQ6-W5BsbZLm0PhcGT1CiQS1OU6_BGqZ_JhP37J2doMtr8ceGwI5SzzISfSjyGxtWYJIsz-jpTzY_xcw=="}',0,1796002684234554,1796002684234555);
INSERT INTO "documents" VALUES('settings/general','settings/general','{"smtp_auth":{"enabled":true,"skip_for_local_networks":false,"local_networks":["127.0.0.0/8","::1/128","10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","fc00::/7","fe80::/10"],"sender_must_match_login":true,"skip_sender_match_for_trusted_networks":false,"forbid_plaintext_auth_without_tls":true},"profile":{"hostname":"localhost.localdomain","banner":"ESMTP 5e5334bbc94747ad875fd0732d5c883d","max_recipients":1000,"recipients_over_limit":"defer_excess","max_hops":50,"max_message_size_mb":25},"external_postmasters":[]}',5,1796002684230173,1796002689714965);
INSERT INTO "documents" VALUES('settings/delivery','settings/delivery','{"mode":"direct","relay_host":null}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/queue','settings/queue','{"retry_schedule":{"first_minutes":5.0,"growth":1.5,"max_minutes":120.0},"expire_after_hours":120.0,"delay_notice_after_hours":4.0,"bounce_expire_hours":24.0,"max_concurrency_per_destination":20,"max_messages_per_connection":100,"retention_days":7.0}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/resolvers','settings/resolvers','{"preferred":[],"alternate":[]}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/sender-policy','settings/sender-policy','{"reject_non_fqdn_sender":"off","reject_unknown_sender_domain":"off"}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/connection-policy','settings/connection-policy','{"reject_unknown_client_hostname":"off","max_concurrent_connections":50,"max_messages_per_minute":0,"max_connections_per_minute":0}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/advanced-security','settings/advanced-security','{"reject_unauthorized_pipelining":"enforce","reject_non_fqdn_helo":"off","reject_unknown_helo":"off","max_unknown_recipients_per_day":0,"timezone":"UTC","max_junk_commands":100}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('settings/content-checks','settings/content-checks','{"dnsbl":{"mode":"off","zones":[]},"spf":{"mode":"off","on_softfail":"accept","reject_permerror":false},"dkim":{"mode":"off"},"dmarc":{"mode":"off"},"antivirus":{"mode":"off","clamd":"127.0.0.1:3310","on_error":"tempfail","action":"reject","timeout_seconds":60},"arc":{"verify":false}}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('api-keys','01a22a1a-1d5d-7ba0-844c-89954fa06fbd','{"name":"admin","role":"admin","expires_at":null,"prefix":"ph_9e5e4a53d0","key_hash":"4edabb83e8744b010501b40639c9dae2fd07c3d0210bee209a336d1c09e46c3a"}',1,1796002684230173,1796002684230173);
INSERT INTO "documents" VALUES('local-domains','01a22a1a-312f-71a4-a54d-6df6351fea9b','{"name":"ours.test","mailbox":{"kind":"lmtp","host":"box.test","port":2424},"quarantine_mailbox":null}',2,1796002689331871,1796002689331871);
INSERT INTO "documents" VALUES('accounts','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae','{"login":"alice","addresses":["alice@ours.test"],"enabled":true,"password":"$argon2id$v=19$m=19456,t=2,p=1$WqiR/RHylxbsrNzTyHcMbA$F0f0tHU/aTKtOlNvtAEMRoXqCwKDpmIjM2Wn7IPGSrU"}',3,1796002689573252,1796002689573252);
INSERT INTO "documents" VALUES('relay-rules','01a22a1a-323e-70f6-9f8f-e94956108b70','{"name":"by smart host","type":"recipient","target_type":"domain","targets":["far.test"],"relay_host":{"host":"smart.test","port":2525,"always_tls":true,"implicit_tls":false,"verify_certificate":true,"auth":{"username":"gateway","allow_without_tls":false,"password":"gAAAAABrDNOBiIH8rvaOXgrp1mQxmbRw7xMv5gccMEINsX9Ou2ZcPX_6h6BHcnIVkFHyeFixc7_RQavyynp3TroPTU1Zyvoleg=="}},"position":0,"enabled":true}',4,1796002689646034,1796002689646034);
CREATE TABLE head (
	id INTEGER NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "head" VALUES(1,5);
CREATE TABLE hit_reports (
	report_id VARCHAR(128) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (report_id)
);
CREATE TABLE idempotency (
	actor VARCHAR(200) NOT NULL, 
	"key" VARCHAR(255) NOT NULL, 
	fingerprint BLOB NOT NULL, 
	status INTEGER NOT NULL, 
	headers TEXT NOT NULL, 
	body TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (actor, "key")
);
CREATE TABLE key_uses (
	key_id VARCHAR(64) NOT NULL, 
	last_used_at BIGINT NOT NULL, 
	PRIMARY KEY (key_id)
);
INSERT INTO "key_uses" VALUES('01a22a1a-1d5d-7ba0-844c-89954fa06fbd',1796002690306369);
CREATE TABLE revisions (
	number BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	action VARCHAR(64) NOT NULL, 
	summary VARCHAR(500) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "revisions" VALUES(1,1796002684230173,'posthouse','initialise','initial settings');
INSERT INTO "revisions" VALUES(2,1796002689331871,'admin','createLocalDomain','createLocalDomain local-domains/01a22a1a-312f-71a4-a54d-6df6351fea9b');
INSERT INTO "revisions" VALUES(3,1796002689573252,'admin','createAccount','createAccount accounts/01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "revisions" VALUES(4,1796002689646034,'admin','createRelayRule','createRelayRule relay-rules/01a22a1a-323e-70f6-9f8f-e94956108b70');
INSERT INTO "revisions" VALUES(5,1796002689714965,'admin','updateGeneralSettings','updateGeneralSettings settings/general');
CREATE TABLE rule_hits (
	rule_id VARCHAR(64) NOT NULL, 
	hits BIGINT NOT NULL, 
	last_hit_at BIGINT, 
	PRIMARY KEY (rule_id)
);
CREATE TABLE terms (
	kind VARCHAR(64) NOT NULL, 
	field VARCHAR(64) NOT NULL, 
	value VARCHAR(1024) NOT NULL, 
	document_id VARCHAR(64) NOT NULL, 
	PRIMARY KEY (kind, field, value, document_id)
);
INSERT INTO "terms" VALUES('api-keys','name','admin','01a22a1a-1d5d-7ba0-844c-89954fa06fbd');
INSERT INTO "terms" VALUES('api-keys','prefix','ph_9e5e4a53d0','01a22a1a-1d5d-7ba0-844c-89954fa06fbd');
INSERT INTO "terms" VALUES('api-keys','role','admin','01a22a1a-1d5d-7ba0-844c-89954fa06fbd');
INSERT INTO "terms" VALUES('local-domains','name','ours.test','01a22a1a-312f-71a4-a54d-6df6351fea9b');
INSERT INTO "terms" VALUES('accounts','login','alice','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "terms" VALUES('accounts','address','alice@ours.test','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "terms" VALUES('accounts','enabled','true','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "terms" VALUES('relay-rules','name','by smart host','01a22a1a-323e-70f6-9f8f-e94956108b70');
INSERT INTO "terms" VALUES('relay-rules','type','recipient','01a22a1a-323e-70f6-9f8f-e94956108b70');
INSERT INTO "terms" VALUES('relay-rules','target','far.test','01a22a1a-323e-70f6-9f8f-e94956108b70');
INSERT INTO "terms" VALUES('relay-rules','enabled','true','01a22a1a-323e-70f6-9f8f-e94956108b70');
CREATE TABLE unique_keys (
	scope VARCHAR(64) NOT NULL, 
	value VARCHAR(1024) NOT NULL, 
	kind VARCHAR(64) NOT NULL, 
	document_id VARCHAR(64) NOT NULL, 
	PRIMARY KEY (scope, value)
);
INSERT INTO "unique_keys" VALUES('api-keys/name','admin','api-keys','01a22a1a-1d5d-7ba0-844c-89954fa06fbd');
INSERT INTO "unique_keys" VALUES('domain','ours.test','local-domains','01a22a1a-312f-71a4-a54d-6df6351fea9b');
INSERT INTO "unique_keys" VALUES('login','alice','accounts','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "unique_keys" VALUES('address','alice@ours.test','accounts','01a22a1a-31a5-7cba-bfd3-dbe95e8a1aae');
INSERT INTO "unique_keys" VALUES('relay-rules/name','by smart host','relay-rules','01a22a1a-323e-70f6-9f8f-e94956108b70');
CREATE INDEX unique_keys_by_document ON unique_keys (kind, document_id);
CREATE INDEX terms_by_document ON terms (kind, document_id);
CREATE INDEX changes_by_document ON changes (kind, document_id, revision);
CREATE INDEX audit_log_by_actor ON audit_log (actor, id);
CREATE INDEX audit_log_by_action ON audit_log (action, id);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
CREATE INDEX hit_reports_by_age ON hit_reports (created_at);
COMMIT;
