package secevent

import (
	"strings"
	"testing"
	"time"
)

func TestLogoutTokens(t *testing.T) {
	key, stranger := newSigner(t, "key"), newSigner(t, "key")
	s := sourceOf(t, config(publish(t, key)))
	byUser := config(publish(t, key))
	byUser.EndSubject = true
	for name, c := range map[string]struct {
		source *Source
		token  string
		want   []Subject
		says   string // of the refusal
	}{
		"a session":               {s, key.token(typLogout, logout()), []Subject{session}, ""},
		"a session's user":        {sourceOf(t, byUser), key.token(typLogout, logout()), []Subject{alice}, ""},
		"a session alone":         {sourceOf(t, byUser), key.token(typLogout, logout(), object{"sub": nil}), []Subject{session}, ""},
		"a user":                  {s, key.token("application/Logout+JWT", logout(), object{"sid": nil}), []Subject{alice}, ""},
		"typ JWT, several aud":    {s, key.token("JWT", logout(), object{"aud": []string{"x", client}}), []Subject{session}, ""},
		"without exp":             {s, key.token("", logout(), object{"exp": nil}), []Subject{session}, ""},
		"within the leeway":       {s, key.token(typLogout, logout(), object{"iat": now.Add(29 * time.Second).Unix()}), []Subject{session}, ""},
		"a stranger's key":        {s, stranger.token(typLogout, logout()), nil, "signature"},
		"a key of an unknown id":  {s, newSigner(t, "new").token(typLogout, logout()), nil, "no key"},
		"a SET":                   {s, key.token(typSET, logout()), nil, "typ"},
		"an access token":         {s, key.token("at+jwt", logout()), nil, "typ"},
		"an ID token":             {s, key.token("JWT", logout(), object{"events": nil}), nil, "events"},
		"an ID token with events": {s, key.token("JWT", logout(), object{"nonce": "n"}), nil, "nonce"},
		"another issuer's":        {s, key.token(typLogout, logout(), object{"iss": theirs}), nil, "iss"},
		"iss with a slash":        {s, key.token(typLogout, logout(), object{"iss": ours + "/"}), nil, "iss"},
		"iss a list":              {s, key.token(typLogout, logout(), object{"iss": []string{ours}}), nil, "iss"},
		"another client's":        {s, key.token(typLogout, logout(), object{"aud": "other"}), nil, "aud"},
		"the audience of SETs":    {s, key.token(typLogout, logout(), object{"aud": audience}), nil, "aud"},
		"no aud":                  {s, key.token(typLogout, logout(), object{"aud": nil}), nil, "aud"},
		"aud of numbers":          {s, key.token(typLogout, logout(), object{"aud": []any{1, client}}), nil, "aud"},
		"no jti":                  {s, key.token(typLogout, logout(), object{"jti": nil}), nil, "jti"},
		"an empty jti":            {s, key.token(typLogout, logout(), object{"jti": ""}), nil, "jti"},
		"a huge jti":              {s, key.token(typLogout, logout(), object{"jti": strings.Repeat("j", MaxID+1)}), nil, "jti"},
		"no iat":                  {s, key.token(typLogout, logout(), object{"iat": nil}), nil, "iat"},
		"iat a text":              {s, key.token(typLogout, logout(), object{"iat": "1800000000"}), nil, "iat"},
		"iat in milliseconds":     {s, key.token(typLogout, logout(), object{"iat": now.UnixMilli()}), nil, "iat"},
		"iat in the future":       {s, key.token(typLogout, logout(), object{"iat": now.Add(time.Minute).Unix()}), nil, "future"},
		"too old":                 {s, key.token(typLogout, logout(), object{"iat": now.Add(-25 * time.Hour).Unix(), "exp": nil}), nil, "long ago"},
		"expired":                 {s, key.token(typLogout, logout(), object{"exp": now.Add(-31 * time.Second).Unix()}), nil, "exp"},
		"not yet good":            {s, key.token(typLogout, logout(), object{"nbf": now.Add(time.Minute).Unix()}), nil, "nbf"},
		"neither sub nor sid":     {s, key.token(typLogout, logout(), object{"sub": nil, "sid": nil}), nil, "neither"},
		"sub a number":            {s, key.token(typLogout, logout(), object{"sub": 7}), nil, "sub"},
		"sub with a line feed":    {s, key.token(typLogout, logout(), object{"sub": "a\nb"}), nil, "sub"},
		"sid empty":               {s, key.token(typLogout, logout(), object{"sid": ""}), nil, "sid"},
		"events a list":           {s, key.token(typLogout, logout(), object{"events": []string{typeLogout}}), nil, "events"},
		"another event":           {s, key.token(typLogout, logout(), object{"events": object{revokedSession: object{}}}), nil, "events"},
		"the event a text":        {s, key.token(typLogout, logout(), object{"events": object{typeLogout: "x"}}), nil, "events"},
		"nothing":                 {s, "", nil, "not a JWT"},
		"no signature":            {s, strings.TrimRight(key.token(typLogout, logout()), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), nil, "not a JWT"},
		"encrypted":               {s, "e30.e30.e30.e30.e30", nil, "not a JWT"},
		"huge":                    {s, strings.Repeat("a", MaxToken+1), nil, "longer"},
		"alg none":                {s, key.sign([]byte(`{"alg":"none","typ":"logout+jwt"}`), []byte(`{}`)), nil, "alg"},
		"alg HS256":               {s, key.sign([]byte(`{"alg":"HS256","kid":"key","typ":"logout+jwt"}`), []byte(`{}`)), nil, "alg"},
		"alg of another key":      {s, key.sign([]byte(`{"alg":"ES384","kid":"key","typ":"logout+jwt"}`), payload(logout())), nil, "signature"},
		"crit":                    {s, key.sign([]byte(`{"alg":"ES256","crit":["x"],"typ":"logout+jwt"}`), []byte(`{}`)), nil, "crit"},
		"a claim twice":           {s, key.sign([]byte(`{"alg":"ES256","typ":"logout+jwt"}`), []byte(`{"iss":"a","iss":"b"}`)), nil, "twice"},
		"deep nesting":            {s, key.sign([]byte(`{"alg":"ES256","typ":"logout+jwt"}`), []byte(`{"a":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000)+`}`)), nil, "claims"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := c.source.ReadLogout(t.Context(), c.token)
			check(t, e, err, c.want, c.says)
		})
	}
}
