// The job of ../README.md with the client that openapi-generator makes.
//
//     POSTHOUSE_URL=http://127.0.0.1:8080 POSTHOUSE_KEY=... java -cp ... Job example.com /srv/mail/example.com

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.UUID;
import org.posthouse.client.ApiClient;
import org.posthouse.client.ApiException;
import org.posthouse.client.ApiResponse;
import org.posthouse.client.api.AccountsApi;
import org.posthouse.client.api.GeneralApi;
import org.posthouse.client.api.LocalDomainsApi;
import org.posthouse.client.model.Account;
import org.posthouse.client.model.AccountPage;
import org.posthouse.client.model.GeneralSettings;
import org.posthouse.client.model.GeneralSettingsPatch;
import org.posthouse.client.model.LocalDomain;
import org.posthouse.client.model.Mailbox;
import org.posthouse.client.model.MaildirMailbox;
import org.posthouse.client.model.ProfilePatch;

public final class Job {
    private final ApiClient client = new ApiClient();

    private Job(String url, String key) {
        client.updateBaseUri(url);
        client.setRequestInterceptor(request -> request.header("Authorization", "Bearer " + key));
    }

    private String rename(String hostname) throws ApiException {
        GeneralApi general = new GeneralApi(client);
        ApiResponse<GeneralSettings> current = general.getGeneralSettingsWithHttpInfo(null);
        String etag = current.getHeaders().get("etag").get(0);
        GeneralSettingsPatch patch = new GeneralSettingsPatch().profile(new ProfilePatch().hostname(hostname));
        // 412 would mean that somebody else has changed it since: read and change it again.
        return general.updateGeneralSettings(etag, patch, null, null).getProfile().getHostname();
    }

    private LocalDomain addDomain(String name, String folder) throws ApiException {
        MaildirMailbox maildir = new MaildirMailbox().kind(MaildirMailbox.KindEnum.MAILDIR).path(folder);
        LocalDomain domain = new LocalDomain().name(name).mailbox(new Mailbox(maildir));
        // The same key again would give the same answer again, and make no second domain.
        return new LocalDomainsApi(client).createLocalDomain(domain, UUID.randomUUID().toString(), null);
    }

    private void addAccount(String address) throws ApiException {
        Account account = new Account().login(address).password("correct horse battery staple");
        account.setAddresses(List.of(address));
        new AccountsApi(client).createAccount(account, UUID.randomUUID().toString(), null);
    }

    private TreeSet<String> addresses() throws ApiException {
        AccountsApi accounts = new AccountsApi(client);
        TreeSet<String> addresses = new TreeSet<>();
        String cursor = null;
        do {
            AccountPage page = accounts.listAccounts(2, cursor, null, null, null, null, null);
            for (Account account : page.getItems()) {
                addresses.addAll(account.getAddresses());
            }
            cursor = page.getNextCursor();
        } while (cursor != null);
        return addresses;
    }

    public static void main(String[] arguments) throws Exception {
        String domain = arguments[0];
        String folder = arguments[1];
        Job job = new Job(System.getenv("POSTHOUSE_URL"), System.getenv("POSTHOUSE_KEY"));
        ObjectMapper json = new ObjectMapper();
        Map<String, Object> report = new LinkedHashMap<>();
        report.put("hostname", job.rename("gateway." + domain));
        report.put("domain_id", job.addDomain(domain, folder).getId());
        for (String name : List.of("alice", "bob", "carol")) {
            job.addAccount(name + "@" + domain);
        }
        report.put("addresses", job.addresses());
        try {
            job.addDomain(domain, folder);
            report.put("refusal", "");
        } catch (ApiException refusal) {
            JsonNode problem = json.readTree(refusal.getResponseBody());
            String type = problem.get("type").asText();
            report.put("refusal", type.substring(type.lastIndexOf(':') + 1));
        }
        System.out.println(json.writeValueAsString(report));
    }
}
