// The job of ../README.md with the client that openapi-generator makes.
//
//	POSTHOUSE_URL=http://127.0.0.1:8080 POSTHOUSE_KEY=... ./job example.com /srv/mail/example.com
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	posthouse "posthouse.example/client"
)

// newKey makes an Idempotency-Key. The same key again would give the same answer again, and do the work once.
func newKey() string {
	octets := make([]byte, 16)
	if _, err := rand.Read(octets); err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(octets)
}

func rename(ctx context.Context, api *posthouse.APIClient, hostname string) (string, error) {
	_, response, err := api.GeneralAPI.GetGeneralSettings(ctx).Execute()
	if err != nil {
		return "", err
	}
	patch := posthouse.GeneralSettingsPatch{Profile: &posthouse.ProfilePatch{Hostname: &hostname}}
	// 412 would mean that somebody else has changed it since: read and change it again.
	changed, _, err := api.GeneralAPI.UpdateGeneralSettings(ctx).
		IfMatch(response.Header.Get("ETag")).GeneralSettingsPatch(patch).Execute()
	if err != nil {
		return "", err
	}
	return changed.Profile.GetHostname(), nil
}

func addDomain(ctx context.Context, api *posthouse.APIClient, name, folder string) (string, error) {
	mailbox := posthouse.MaildirMailboxAsMailbox(posthouse.NewMaildirMailbox("maildir", folder))
	domain := posthouse.NewLocalDomain(name)
	domain.SetMailbox(mailbox)
	made, _, err := api.LocalDomainsAPI.CreateLocalDomain(ctx).
		LocalDomain(*domain).IdempotencyKey(newKey()).Execute()
	if err != nil {
		return "", err
	}
	return made.GetId(), nil
}

func addAccount(ctx context.Context, api *posthouse.APIClient, address string) error {
	account := posthouse.NewAccount(address)
	account.SetPassword("correct horse battery staple")
	account.SetAddresses([]string{address})
	_, _, err := api.AccountsAPI.CreateAccount(ctx).Account(*account).IdempotencyKey(newKey()).Execute()
	return err
}

func addresses(ctx context.Context, api *posthouse.APIClient) ([]string, error) {
	listed := []string{}
	request := api.AccountsAPI.ListAccounts(ctx).Limit(2)
	for {
		page, _, err := request.Execute()
		if err != nil {
			return nil, err
		}
		for _, account := range page.Items {
			listed = append(listed, account.GetAddresses()...)
		}
		cursor := page.GetNextCursor()
		if cursor == "" {
			sort.Strings(listed)
			return listed, nil
		}
		request = request.Cursor(cursor)
	}
}

// refusal gives the code of the problem that the API answered with; empty when it was none.
func refusal(err error) string {
	var answer *posthouse.GenericOpenAPIError
	if !errors.As(err, &answer) {
		return ""
	}
	var problem posthouse.ProblemDetails
	if json.Unmarshal(answer.Body(), &problem) != nil {
		return ""
	}
	return problem.GetType()[strings.LastIndex(problem.GetType(), ":")+1:]
}

func run(domain, folder string) error {
	configuration := posthouse.NewConfiguration()
	configuration.Servers = posthouse.ServerConfigurations{{URL: os.Getenv("POSTHOUSE_URL")}}
	api := posthouse.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), posthouse.ContextAccessToken, os.Getenv("POSTHOUSE_KEY"))

	hostname, err := rename(ctx, api, "gateway."+domain)
	if err != nil {
		return err
	}
	domainID, err := addDomain(ctx, api, domain, folder)
	if err != nil {
		return err
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		if err := addAccount(ctx, api, name+"@"+domain); err != nil {
			return err
		}
	}
	listed, err := addresses(ctx, api)
	if err != nil {
		return err
	}
	_, err = addDomain(ctx, api, domain, folder)
	report := map[string]any{
		"hostname": hostname, "domain_id": domainID, "addresses": listed, "refusal": refusal(err),
	}
	line, err := json.Marshal(report)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	return nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: job DOMAIN FOLDER")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}
