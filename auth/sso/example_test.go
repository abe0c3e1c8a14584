package sso_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// A client asks where the people of the account acme log in.
func ExampleService_Answer() {
	key := sso.NewSecret("kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja")
	service, err := sso.New(sso.Config{
		Products:    []string{"my-product"},
		Credentials: []sso.Credential{{APIKey: "my-key", SharedKey: key}},
		Accounts: []sso.Account{{
			Code:                  "acme",
			AuthorizationEndpoint: "https://login.acme.example/authorize",
			Preset:                "keycloak",
			ClientID:              "license-users",
			RedirectURIs:          []string{"http://127.0.0.1/callback"},
			Params:                map[string]string{"kc_idp_hint": "acme-saml"},
		}},
		Now: func() time.Time { return time.Date(2011, 6, 7, 20, 50, 0, 0, time.UTC) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	const date = "Tue, 07 Jun 2011 20:51:35 GMT"
	answer := service.Answer(context.Background(), sso.Request{
		Header: http.Header{
			"Date":          {date},
			"Authorization": {`algorithm="hmac-sha256",headers="date",signature="` + sso.Sign(key, date) + `",apikey="my-key"`},
		},
		RawQuery: "product=my-product&customer_account_code=acme&response_type=code&state=s&nonce=n&redirect_uri=http://127.0.0.1:4711/callback",
	})
	fmt.Println(answer.Status, answer.Result())
	fmt.Println(string(answer.Body))
	// Output:
	// 200 ok
	// {"url":"https://login.acme.example/authorize?client_id=license-users&kc_idp_hint=acme-saml&nonce=n&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback&response_type=code&scope=openid%20email%20profile&state=s"}
}
