// Package vendor asks the server of a license's vendor: for the address of a customer's
// login, for a license in exchange for that login, for a newer one, and to give a seat
// back. The routes are those of the License API v4 with Gatehouse's additions.
//
// What comes back is not believed here: whoever installs a license verifies it by the
// keys that the deployment trusts. No error repeats a token, a code or a key.
package vendor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
	"github.com/gatehouse-proxy/gatehouse/license"
)

const (
	// DefaultLimit is how long an answer may take.
	DefaultLimit = 30 * time.Second

	maxAnswer = 4 * license.MaxSize
	maxShown  = 300
	jsonType  = "application/json"
)

// The routes.
const (
	pathSSOURL     = "/api/v4/sso_url"
	pathActivate   = "/api/v4/activate_license"
	pathCheck      = "/api/v4/check_license"
	pathDeactivate = "/api/v4/deactivate_license"

	pathActivateOffline   = "/api/v4/activate_offline"
	pathDeactivateOffline = "/api/v4/deactivate_offline"
)

// Client asks one vendor. It is safe for concurrent use; its fields are set before.
type Client struct {
	// Authorize adds to a request's header what proves who is asking; nil: nothing.
	Authorize func(header http.Header, now time.Time)

	// Now is the clock: time.Now.
	Now func() time.Time

	base string
	http http.Client
}

// New makes a client of the server with that address: https, or http on loopback; a
// path is kept. sender sends the requests; nil: one of its own. Redirects are never
// followed.
func New(server string, sender *http.Client) (*Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want the address of the vendor's server, such as https://license.vendor.example")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return nil, errors.New("the vendor's server is not asked over https; want https, or http on loopback")
	}
	v := &Client{base: strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), Now: time.Now}
	if sender != nil {
		v.http = *sender
	}
	v.http.Jar = nil
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if v.http.Timeout <= 0 {
		v.http.Timeout = DefaultLimit
	}
	return v, nil
}

// Seat names what a license is for: a product on one instance.
type Seat struct {
	Product    string `json:"product"`
	HardwareID string `json:"hardware_id"` // the instance's fingerprint
}

// Login says how a person logs in.
type Login struct {
	Product, Account string
	ResponseType     string // code or token; empty: the account's
	RedirectURI      string
	State, Nonce     string
	Challenge        string // of the verifier, by S256 (RFC 7636); empty: none
}

// SSOURL asks for the address of a login page.
func (v *Client) SSOURL(ctx context.Context, l Login) (string, error) {
	query := url.Values{}
	for name, value := range map[string]string{
		"product": l.Product, "customer_account_code": l.Account, "response_type": l.ResponseType,
		"redirect_uri": l.RedirectURI, "state": l.State, "nonce": l.Nonce, "code_challenge": l.Challenge,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if l.Challenge != "" {
		query.Set("code_challenge_method", "S256")
	}
	var answer struct {
		URL string `json:"url"`
	}
	body, err := v.ask(ctx, http.MethodGet, pathSSOURL+"?"+query.Encode(), nil, "")
	if err != nil {
		return "", err
	}
	if json.Unmarshal(body, &answer) != nil || answer.URL == "" {
		return "", errors.New("the vendor's answer holds no address of a login page")
	}
	u, err := url.Parse(answer.URL)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback.Host(u.Hostname())) {
		return "", errors.New("the address of the login page that the vendor answers with is not https")
	}
	return answer.URL, nil
}

// Activation asks for a license in exchange for a login: by exactly one of IDToken and
// Code.
type Activation struct {
	Seat
	Account      string   `json:"customer_account_code"`
	IDToken      string   `json:"id_token,omitempty"`
	Code         string   `json:"code,omitempty"`
	CodeVerifier string   `json:"code_verifier,omitempty"` // of the code
	RedirectURI  string   `json:"redirect_uri,omitempty"`
	Hosts        []string `json:"hosts,omitempty"` // nil: those of the account
}

// Activate takes a seat, and gives the text of its license.
func (v *Client) Activate(ctx context.Context, a Activation) ([]byte, error) {
	body, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	answer, err := v.ask(ctx, http.MethodPost, pathActivate, body, jsonType)
	if err != nil {
		return nil, err
	}
	return LicenseOf(answer)
}

// Check gives the text of a newer license for a seat that was taken; key is the id of
// the one that it has.
func (v *Client) Check(ctx context.Context, s Seat, key string) ([]byte, error) {
	query := url.Values{"product": {s.Product}, "hardware_id": {s.HardwareID}, "license_key": {key}}
	answer, err := v.ask(ctx, http.MethodGet, pathCheck+"?"+query.Encode(), nil, "")
	if err != nil {
		return nil, err
	}
	return LicenseOf(answer)
}

// Deactivate gives a seat back.
func (v *Client) Deactivate(ctx context.Context, s Seat, key string) error {
	body, err := json.Marshal(map[string]string{"product": s.Product, "hardware_id": s.HardwareID, "license_key": key})
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	_, err = v.ask(ctx, http.MethodPost, pathDeactivate, body, jsonType)
	return err
}

// Carry sends the request file of an instance without a network, and gives the file of
// the vendor's response. A request to activate goes with a login, one to give a seat back
// with none.
func (v *Client) Carry(ctx context.Context, file []byte, login *license.OfflineLogin) ([]byte, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "request.json")
	if err == nil {
		_, err = part.Write(file)
	}
	path := pathDeactivateOffline
	if login != nil {
		path = pathActivateOffline
		for _, field := range [][2]string{
			{"id_token", login.IDToken}, {"code", login.Code}, {"code_verifier", login.CodeVerifier}, {"redirect_uri", login.RedirectURI},
		} {
			if field[1] != "" && err == nil {
				err = form.WriteField(field[0], field[1])
			}
		}
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return nil, fmt.Errorf("encoding the request: %w", err)
	}
	return v.ask(ctx, http.MethodPost, path, body.Bytes(), form.FormDataContentType())
}

// LicenseOf takes the license out of an answer, as text to be kept. It is not verified.
func LicenseOf(answer []byte) ([]byte, error) {
	var held struct {
		License jsontext.Value `json:"license"`
	}
	if json.Unmarshal(answer, &held) != nil || len(held.License) == 0 {
		return nil, errors.New("the vendor's answer holds no license")
	}
	l, err := license.Decode(held.License)
	if err != nil {
		return nil, fmt.Errorf("the vendor's answer holds something that is no license: %w", err)
	}
	return l.Encode()
}

// Refusal is an answer with a status other than 200.
type Refusal struct {
	Status  int
	Code    string // of the License API; empty: it did not say
	Message string // the vendor's words, fit to be shown
}

// Error is status, code and message.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("the vendor answered with status %d", r.Status)
	for _, more := range []string{r.Code, r.Message} {
		if more != "" {
			text += ": " + more
		}
	}
	return text
}

// ask sends a request and reads a good answer.
func (v *Client) ask(ctx context.Context, method, target string, body []byte, contentType string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, v.base+target, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the vendor's address cannot be asked")
	}
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", "gatehouse")
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if v.Authorize != nil {
		v.Authorize(req.Header, v.Now())
	}
	resp, err := v.http.Do(req) //nolint:gosec // the operator names the server
	if err != nil {
		return nil, unanswered(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, errors.New("the vendor's answer broke off")
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("the vendor's answer has more than %d bytes", maxAnswer)
	case resp.StatusCode != http.StatusOK:
		return nil, refusalOf(resp.StatusCode, answer)
	}
	return answer, nil
}

// unanswered says why there is no answer, and leaves out the address, whose query may
// be private.
func unanswered(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		if wrapped.Timeout() {
			return errors.New("the vendor did not answer in time")
		}
		err = wrapped.Err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New("the vendor cannot be reached, or does not speak HTTP")
}

func refusalOf(status int, answer []byte) *Refusal {
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	_ = json.Unmarshal(answer, &said) // of another kind: it said nothing
	return &Refusal{status, shown(said.Code), shown(said.Message)}
}

// shown makes words of the other side fit for a log.
func shown(text string) string {
	if len(text) > maxShown {
		text = strings.ToValidUTF8(text[:maxShown], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return '?'
	}, text)
}
