package caddymodule_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/quic-go/quic-go/http3"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// holder holds a key that tokens are bound to.
type holder struct {
	t          *testing.T
	private    *ecdsa.PrivateKey
	public     jwk.Key
	thumbprint string
}

func newHolder(t *testing.T) *holder {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.FromRaw(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{t, private, public, base64.RawURLEncoding.EncodeToString(sum)}
}

// token is one that is bound to the holder's key.
func (h *holder) token(issuer *idp.Issuer) string {
	return mint(issuer, claims{"cnf": claims{"jkt": h.thumbprint}})
}

// proof is one for a request, good but for what is changed.
func (h *holder) proof(token, method, url string, changes claims) string {
	h.t.Helper()
	sum := sha256.Sum256([]byte(token))
	url, _, _ = strings.Cut(url, "?")
	payload := claims{
		"htm": method, "htu": url, "iat": time.Now().Unix(), "jti": rand.Text(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	for name, value := range changes {
		payload[name] = value
		if value == idp.Absent {
			delete(payload, name)
		}
	}
	return h.sign(h.text(payload), nil)
}

func (h *holder) text(value any) []byte {
	h.t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// sign signs any payload, with a header that is good but for what is changed.
func (h *holder) sign(payload []byte, changes claims) string {
	h.t.Helper()
	header := claims{"typ": "dpop+jwt", "alg": "ES256", "jwk": h.public}
	maps.Copy(header, changes)
	signed := base64.RawURLEncoding.EncodeToString(h.text(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, h.private, digest[:])
	if err != nil {
		h.t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// with sends a token with the scheme DPoP and a proof.
func with(token, proof string) edit {
	return func(r *http.Request) {
		r.Header["Authorization"], r.Header["Dpop"] = []string{"DPoP " + secret(token)}, []string{proof}
	}
}

const boundSites = `{
	GLOBALS
	fallback_sni 127.0.0.1
	servers SITE {
		protocols h1 h2 h3
		strict_sni_host insecure_off
	}
	servers FRONT {
		strict_sni_host insecure_off
	}
	servers GATE {
		trusted_proxies static 127.0.0.1/32
	}
	servers MIDDLE {
		trusted_proxies static 127.0.0.1/32
	}
	servers SECOND {
		trusted_proxies static 192.0.2.1/32
	}
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
(who) {
	respond "{http.auth.user.id} {http.auth.user.bound} {http.auth.user.key}"
}
https://SITE {
	bind 127.0.0.1
	tls CERTIFICATE KEY {
		client_auth {
			mode request
		}
	}
	handle_path /stripped/* {
		bearer_auth
		import who
	}
	handle /rewritten/* {
		rewrite * /elsewhere?a=b
		method POST
		bearer_auth
		import who
	}
	handle /nested/* {
		bearer_auth
		bearer_auth {
			bound dpop
		}
		import who
	}
	handle /dpop/* {
		bearer_auth {
			bound dpop
		}
		import who
	}
	handle /mtls/* {
		bearer_auth {
			bound mtls
		}
		import who
	}
	handle /required/* {
		bearer_auth {
			bound required
		}
		import who
	}
	handle /as_bearer/* {
		bearer_auth {
			as_bearer
		}
		reverse_proxy UPSTREAM
	}
	handle /strip/* {
		bearer_auth {
			strip_token
		}
		reverse_proxy UPSTREAM
	}
	handle /upstream/* {
		bearer_auth
		reverse_proxy UPSTREAM
	}
	handle {
		bearer_auth
		import who
	}
}
https://V6 {
	bind ::1
	tls CERTIFICATE KEY
	bearer_auth
	import who
}
http://GATE {
	bind 127.0.0.1
	handle /upstream/* {
		bearer_auth {
			client_certificate header Client-Cert rfc9440
		}
		reverse_proxy UPSTREAM
	}
	bearer_auth {
		client_certificate header Client-Cert rfc9440
	}
	import who
}
https://FRONT {
	bind 127.0.0.1
	tls CERTIFICATE KEY {
		client_auth {
			mode request
		}
	}
	reverse_proxy GATE {
		header_up Client-Cert :{http.request.tls.client.certificate_der_base64}:
	}
}
http://MIDDLE {
	bind 127.0.0.1
	reverse_proxy GATE
}
http://OUTER {
	bind 127.0.0.1
	reverse_proxy MIDDLE
}
http://SECOND {
	bind 127.0.0.1
	bearer_auth /upstream/* {
		client_certificate header Client-Cert rfc9440
	}
	reverse_proxy UPSTREAM
}
http://PUBLIC {
	bind 127.0.0.1
	bearer_auth {
		public_url https://GW.example.com:443/ https://other.example.com:8443/api
	}
	import who
}
`

// boundGateway runs boundSites and gives clients for HTTP/1.1, 2 and 3, which show a
// certificate if there is one.
type boundGateway struct {
	*gateway
	issuer *idp.Issuer
	sites  map[string]string
	files  [2]string
}

func startBound(t *testing.T) *boundGateway {
	t.Helper()
	b := &boundGateway{issuer: newIssuer(t), sites: map[string]string{}}
	b.files[0], b.files[1] = selfSigned(t)
	vars := []string{"ISSUER", b.issuer.URL, "UPSTREAM", newUpstream(t).URL, "CERTIFICATE", b.files[0], "KEY", b.files[1]}
	for _, name := range []string{"GATE", "FRONT", "MIDDLE", "OUTER", "PUBLIC", "V6"} {
		b.sites[name] = freeAddress(t)
		if name == "V6" {
			listener, err := net.Listen("tcp", "[::1]:0")
			if err != nil {
				t.Fatal(err)
			}
			b.sites[name] = listener.Addr().String()
			if err := listener.Close(); err != nil {
				t.Fatal(err)
			}
		}
		vars = append(vars, name, b.sites[name])
	}
	b.gateway = start(t, boundSites, vars...)
	b.sites["SITE"], b.sites["SECOND"] = b.site, b.second
	return b
}

func (b *boundGateway) clients(certificates ...tls.Certificate) map[string]*http.Client {
	config := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true, Certificates: certificates} }
	one, two, three := new(http.Protocols), new(http.Protocols), &http3.Transport{TLSClientConfig: config()}
	one.SetHTTP1(true)
	two.SetHTTP2(true)
	transports := map[string]http.RoundTripper{
		"1": &http.Transport{TLSClientConfig: config(), Protocols: one},
		"2": &http.Transport{TLSClientConfig: config(), Protocols: two},
		"3": three,
	}
	clients := map[string]*http.Client{}
	for name, transport := range transports {
		clients[name] = &http.Client{Transport: transport, CheckRedirect: noRedirect}
		b.t.Cleanup(clients[name].CloseIdleConnections)
	}
	b.t.Cleanup(func() { _ = three.Close() })
	return clients
}

// reasonIn is what the challenges say of a refusal.
func reasonIn(got answer) string { return strings.Join(got.header.Values("WWW-Authenticate"), " | ") }

// A proof is good once, for the method and the URI as the client sent them: over each
// version of HTTP, behind proxies, and whatever handlers make of the request.
func TestDPoPThroughCaddy(t *testing.T) {
	g := startBound(t)
	me := newHolder(t)
	token := me.token(g.issuer)
	clients := g.clients()
	want := "subject dpop " + me.thumbprint
	for _, tt := range []struct {
		client, method, site, path string
		signed                     string // the URL that the proof is for; empty: the one that is called
	}{
		{"1", "GET", "https://SITE", "/a", ""},
		{"2", "GET", "https://SITE", "/a?b=c", ""},
		{"3", "DELETE", "https://SITE", "/a/%7Eb/%C3%A4", ""},
		{"2", "GET", "https://SITE", "", ""},
		{"1", "GET", "https://SITE", "/a/../b", "https://SITE/b"},
		{"2", "GET", "https://SITE", "/stripped/a", ""},
		{"1", "GET", "https://SITE", "/rewritten/a?x", ""},
		{"1", "PUT", "https://SITE", "/nested/a", ""},
		{"1", "GET", "https://SITE", "/dpop/a", ""},
		{"3", "GET", "https://SITE", "/required/a", ""},
		{"1", "GET", "https://V6", "/a", ""},
		{"2", "GET", "https://V6", "/a", strings.ToUpper("https://V6") + "/a"},
		{"1", "GET", "https://FRONT", "/a?b=c", ""},
		{"2", "POST", "https://FRONT", "/a", ""},
		{"1", "GET", "http://OUTER", "/a?b=c", ""},
		{"1", "GET", "http://GATE", "/a", ""},
		{"1", "GET", "http://PUBLIC", "/a", "https://gw.example.com/a"},
		{"1", "GET", "http://PUBLIC", "/a?b", "https://OTHER.example.com:8443/api/a"},
	} {
		t.Run(tt.method+" "+tt.site+tt.path+" over "+tt.client, func(t *testing.T) {
			url := g.address(tt.site + tt.path)
			signed, _, _ := strings.Cut(url, "?")
			if tt.signed != "" {
				signed = g.address(tt.signed)
			}
			client := clients[tt.client]
			proof := me.proof(token, tt.method, signed, nil)
			if got := g.do(client, tt.method, url, with(token, proof)); got.status != 200 || got.body != want {
				t.Errorf("got %d %q %s, want %q", got.status, got.body, reasonIn(got), want)
			}
			if got := g.do(client, tt.method, url, with(token, proof)); got.status != 401 || !strings.Contains(reasonIn(got), "was used before") {
				t.Errorf("again: got %d %s", got.status, reasonIn(got))
			}
			for what, proof := range map[string]string{
				"another scheme, host or port": me.proof(token, tt.method, "https://other.example.com"+tt.path, nil),
				"another path":                 me.proof(token, tt.method, signed+"/x", nil),
				"another method":               me.proof(token, "PATCH", signed, nil),
			} {
				if got := g.do(client, tt.method, url, with(token, proof)); got.status != 401 || !strings.Contains(reasonIn(got), what) {
					t.Errorf("for %s: got %d %s", what, got.status, reasonIn(got))
				}
			}
		})
	}
	t.Run("what handlers make of it", func(t *testing.T) {
		for path, signed := range map[string]string{"/stripped/a": "/a", "/rewritten/a": "/elsewhere"} {
			if got := g.do(clients["1"], "GET", "https://"+g.site+path, with(token, me.proof(token, "GET", "https://"+g.site+signed, nil))); got.status != 401 {
				t.Errorf("a proof for %s is taken at %s: %d %q", signed, path, got.status, got.body)
			}
		}
	})
	t.Run("headers of who is no proxy", func(t *testing.T) {
		proof := me.proof(token, "GET", "https://other.example.com/a", nil)
		forwarded := []edit{header("X-Forwarded-Host", "other.example.com"), header("X-Forwarded-Proto", "https"), with(token, proof)}
		if got := g.do(clients["1"], "GET", "https://"+g.site+"/a", forwarded...); got.status != 401 {
			t.Errorf("they are believed: %d %q", got.status, got.body)
		}
		if got := g.do(clients["1"], "GET", "http://"+g.sites["GATE"]+"/a", forwarded...); got.status != 200 {
			t.Errorf("those of a trusted proxy are not: %d %s", got.status, reasonIn(got))
		}
	})
}

// address fills in the addresses of sites.
func (b *boundGateway) address(url string) string {
	for name, address := range b.sites {
		url = strings.ReplaceAll(strings.ReplaceAll(url, "https://"+name, "https://"+address), "http://"+name, "http://"+address)
		url = strings.ReplaceAll(url, "HTTPS://"+name, "HTTPS://"+address)
	}
	return url
}

// Which scheme a token has to come with, and what a route asks for.
func TestSchemesOfTokens(t *testing.T) {
	g := startBound(t)
	me := newHolder(t)
	bound, plain := me.token(g.issuer), mint(g.issuer, nil)
	client := g.clients()["1"]
	for _, tt := range []struct {
		name, path string
		token      string
		dpop       bool
		want       string // what the first challenge must hold; empty: let in
	}{
		{"plain", "/a", plain, false, ""},
		{"bound as a bearer's", "/a", bound, false, "cannot be used as a bearer token"},
		{"plain with a proof", "/a", plain, true, "cannot be used with DPoP"},
		{"plain where bound ones are required", "/required/a", plain, false, "only tokens that are bound to a key are let in"},
		{"plain where DPoP is required", "/dpop/a", plain, false, "DPoP realm"},
		{"plain where certificates are required", "/mtls/a", plain, false, "Bearer realm"},
		{"DPoP where certificates are required", "/mtls/a", bound, true, "bound to a client certificate are let in here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, sent := "https://"+g.site+tt.path, bearer(tt.token)
			if tt.dpop {
				sent = with(tt.token, me.proof(tt.token, "GET", url, nil))
			}
			got := g.do(client, "GET", url, sent)
			if tt.want == "" && got.status != 200 || tt.want != "" && (got.status != 401 || !strings.Contains(got.header.Get("WWW-Authenticate"), tt.want)) {
				t.Errorf("got %d %s", got.status, reasonIn(got))
			}
		})
	}
	for path, schemes := range map[string]string{"/a": "Bearer", "/dpop/a": "DPoP", "/mtls/a": "Bearer", "/required/a": "Bearer DPoP"} {
		var got []string
		for _, challenge := range g.do(client, "GET", "https://"+g.site+path).header.Values("WWW-Authenticate") {
			scheme, _, _ := strings.Cut(challenge, " ")
			got = append(got, scheme)
		}
		if strings.Join(got, " ") != schemes {
			t.Errorf("%s without a token: challenges of %q, want %s", path, got, schemes)
		}
	}
}

// What the upstream gets of a bound token and its proof.
func TestBoundTokenIsHandedOn(t *testing.T) {
	g := startBound(t)
	me := newHolder(t)
	token := me.token(g.issuer)
	client := g.clients()["1"]
	for path, want := range map[string][2]string{
		"/upstream/a": {"DPoP " + token, "proof"}, "/as_bearer/a": {"Bearer " + token, ""}, "/strip/a": {"", ""},
	} {
		url := "https://" + g.site + path
		proof := me.proof(token, "GET", url, nil)
		seen := g.do(client, "GET", url, with(token, proof)).seen(t)
		if want[1] != "" {
			want[1] = proof
		}
		if got := [2]string{seen.Headers.Get("Authorization"), seen.Headers.Get("DPoP")}; got != want {
			t.Errorf("%s: the upstream gets %q, want %q", path, got, want)
		}
	}
}

// Of a thousand requests with one proof at once, one gets in.
func TestOneOfAThousandThroughCaddy(t *testing.T) {
	g := startBound(t)
	me := newHolder(t)
	token := me.token(g.issuer)
	url := "http://" + g.sites["PUBLIC"] + "/a"
	sent := with(token, me.proof(token, "GET", "https://gw.example.com/a", nil))
	var in, refused atomic.Int64
	var group sync.WaitGroup
	begin, room := make(chan struct{}), make(chan struct{}, 100) // connections
	for range 1000 {
		group.Go(func() {
			<-begin
			room <- struct{}{}
			defer func() { <-room }()
			got, err := try(g.client, "GET", url, sent)
			switch {
			case err != nil:
				t.Error(err)
			case got.status == 200:
				in.Add(1)
			case got.status == 401 && strings.Contains(reasonIn(got), "was used before"):
				refused.Add(1)
			}
		})
	}
	close(begin)
	group.Wait()
	if in.Load() != 1 || refused.Load() != 999 {
		t.Errorf("%d got in, and %d heard that they repeat", in.Load(), refused.Load())
	}
}

// A token that is bound to a certificate needs that of the connection, or the one that
// a trusted proxy hands on, whose header nobody else brings to the upstream.
func TestClientCertificates(t *testing.T) {
	g := startBound(t)
	load := func() (tls.Certificate, string, string) {
		certificate, err := tls.LoadX509KeyPair(selfSigned(t))
		if err != nil {
			t.Fatal(err)
		}
		der := certificate.Certificate[0]
		sum := sha256.Sum256(der)
		return certificate, base64.RawURLEncoding.EncodeToString(sum[:]), ":" + base64.StdEncoding.EncodeToString(der) + ":"
	}
	mine, thumbprint, field := load()
	others, _, othersField := load()
	token := mint(g.issuer, claims{"cnf": claims{"x5t#S256": thumbprint}})
	want := "subject mtls " + thumbprint
	with, without, wrong := g.clients(mine), g.clients(), g.clients(others)
	for _, url := range []string{"https://" + g.site + "/a", "https://" + g.site + "/mtls/a", "https://" + g.site + "/required/a", "https://" + g.sites["FRONT"] + "/a"} {
		for version := range with {
			if version == "3" && strings.Contains(url, g.sites["FRONT"]) {
				continue
			}
			if got := g.do(with[version], "GET", url, bearer(token)); got.status != 200 || got.body != want {
				t.Errorf("%s over %s: got %d %q %s", url, version, got.status, got.body, reasonIn(got))
			}
			if got := g.do(without[version], "GET", url, bearer(token), header("Client-Cert", field)); got.status != 401 || !strings.Contains(reasonIn(got), "came with none") {
				t.Errorf("%s over %s, without: got %d %s", url, version, got.status, reasonIn(got))
			}
			if got := g.do(wrong[version], "GET", url, bearer(token), header("Client-Cert", field)); got.status != 401 || !strings.Contains(reasonIn(got), "another client certificate") {
				t.Errorf("%s over %s, with another: got %d %s", url, version, got.status, reasonIn(got))
			}
		}
	}
	gate, stranger := "http://"+g.sites["GATE"]+"/upstream/a", "http://"+g.second
	if got := g.do(g.client, "GET", gate, bearer(token), header("Client-Cert", othersField)); got.status != 401 {
		t.Errorf("another certificate of the proxy's client: %d", got.status)
	}
	seen := g.do(g.client, "GET", gate, bearer(token), header("Client-Cert", field), header("Client_cert", "x")).seen(t)
	if seen.Headers.Get("Client-Cert") != field || seen.Headers["Client_cert"] != nil {
		t.Errorf("of a trusted proxy the upstream gets %v", seen.Headers)
	}
	if got := g.do(g.client, "GET", stranger+"/upstream/a", bearer(token), header("Client-Cert", field)); got.status != 401 || !strings.Contains(reasonIn(got), "came with none") {
		t.Errorf("the header of who is no trusted proxy: %d %s", got.status, reasonIn(got))
	}
	for _, path := range []string{"/upstream/a", "/not/matched"} {
		seen := g.do(g.client, "GET", stranger+path, bearer(mint(g.issuer, nil)), header("Client-Cert", field), header("Client_Cert", field), header("Client-Cert-Chain", "x")).seen(t)
		for name := range seen.Headers {
			if strings.HasPrefix(strings.ToLower(name), "client") {
				t.Errorf("%s: the upstream gets %s of a stranger", path, name)
			}
		}
	}
}
