package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// explanation says what became of a token, check by check. The claims are the
// token's own; its signature is never shown.
type explanation struct {
	Verdict string         `json:"verdict"` // let_in or refused
	Reason  string         `json:"reason"`  // of the refusal; empty if let in
	Message string         `json:"message"`
	Issuer  string         `json:"issuer"` // the configured name that the token claims; empty: none
	Rules   []auth.Rule    `json:"rules"`
	Claims  jsontext.Value `json:"claims"` // null if they cannot be read
}

// The verdicts of an explanation.
const (
	verdictLetIn   = "let_in"
	verdictRefused = "refused"
)

// explainToken holds a token against every rule that it would meet, but for
// those of a route. A refused token is no error here.
func (a *API) explainToken(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	var ask struct {
		Token *string `json:"token"`
	}
	if err := json.Unmarshal(body, &ask, json.RejectUnknownMembers(true)); err != nil {
		return problem(http.StatusBadRequest, `expected {"token": "…"} and no other or repeated member`)
	}
	if ask.Token == nil || *ask.Token == "" {
		return problem(http.StatusUnprocessableEntity, "token: expected the token, without the word Bearer")
	}
	answer, err := json.Marshal(explain(c.r.Context(), a.services.Operation.Explain, *ask.Token))
	if err != nil {
		return err
	}
	writeRaw(c.w, answer)
	return nil
}

func explain(ctx context.Context, ask func(context.Context, string) auth.Explanation, token string) explanation {
	e := ask(ctx, token)
	answer := explanation{Verdict: verdictLetIn, Message: "the token is good", Issuer: e.Issuer, Rules: e.Rules, Claims: e.Claims}
	if e.Refusal != nil {
		answer.Verdict, answer.Reason, answer.Message = verdictRefused, e.Refusal.Reason, e.Refusal.Message
	}
	return answer
}

// writeRaw answers with a JSON document that was made already.
func writeRaw(w http.ResponseWriter, document []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(document, '\n'))
}

// unescaped is a part of a path, percent-decoded once; what cannot be decoded
// is taken as it is.
func unescaped(part string) string {
	if plain, err := url.PathUnescape(part); err == nil {
		return plain
	}
	return part
}
