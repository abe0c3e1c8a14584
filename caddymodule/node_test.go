package caddymodule_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// nodeVariable makes this binary a Caddy instead of tests: it names the file with
// the configuration.
const nodeVariable = "GATEHOUSE_TEST_NODE"

func TestMain(m *testing.M) {
	if file := os.Getenv(nodeVariable); file != "" {
		if err := runNode(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if address := os.Getenv(sendersVariable); address != "" {
		if err := runSenders(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := waitBeside(); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// runNode serves until its standard input ends, as it does when the test dies, or
// until a signal ends it as `caddy run` is ended.
func runNode(file string) error {
	caddy.TrapSignals()
	config, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return caddy.Stop()
}

// node is a Caddy in a process of its own. Nodes with the same folder share their
// storage.
type node struct {
	t       testing.TB
	url     string
	log     string
	client  *http.Client
	process *exec.Cmd
	input   io.Closer
	killed  bool
	issuer  *idp.Issuer
}

const nodeConfig = `{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/storage
	log {
		output file LOG
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			refresh REFRESH
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	bearer_auth
	respond "in"
}
`

const nodeRefresh = 500 * time.Millisecond

// startNode starts a node and waits until it knows the accounts.
func startNode(t *testing.T, dir string, issuer *idp.Issuer) *node {
	t.Helper()
	return startNodeOf(t, dir, issuer, nodeConfig)
}

// startNodeOf is startNode with another Caddyfile.
func startNodeOf(t testing.TB, dir string, issuer *idp.Issuer, caddyfile string) *node {
	t.Helper()
	site := freeAddress(t)
	file := filepath.Join(dir, strings.ReplaceAll(site, ":", "-"))
	n := &node{t: t, url: "http://" + site, log: file + ".log", issuer: issuer, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	config, err := adapt(strings.NewReplacer("DIR", dir, "LOG", n.log, "ISSUER", issuer.URL, "REFRESH", nodeRefresh.String(), "SITE", site).Replace(caddyfile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file+".json", config, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(file + ".json")
	t.Cleanup(n.stop)
	eventually(t, "the node knows its accounts", func() bool {
		got, err := try(n.client, "GET", n.url+"/", n.machine("nobody"))
		return err == nil && got.status == http.StatusUnauthorized
	})
	return n
}

func (n *node) start(file string) {
	n.t.Helper()
	n.process = exec.Command(os.Args[0])
	n.process.Env = append(os.Environ(), nodeVariable+"="+file)
	n.process.Stderr = os.Stderr
	input, err := n.process.StdinPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	output, err := n.process.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.process.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.input = input
	if _, err := io.ReadFull(output, make([]byte, len("ready\n"))); err != nil {
		n.t.Fatalf("the node does not start: %v", err)
	}
}

func (n *node) stop() {
	n.client.CloseIdleConnections()
	_ = n.input.Close()
	if !n.killed {
		if err := n.process.Wait(); err != nil {
			n.t.Errorf("the node ended with %v", err)
		}
	}
	if log, err := os.ReadFile(n.log); err == nil {
		if line := leaked(string(log)); line != "" {
			n.t.Errorf("the log holds a token: %s", line)
		}
	}
}

// terminate ends the node as an init system does, and waits until it has ended.
func (n *node) terminate() {
	n.t.Helper()
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	n.killed = true
	if err := n.process.Wait(); err != nil {
		n.t.Errorf("the node ended with %v", err)
	}
	n.stop()
}

// kill ends the node as a power failure would.
func (n *node) kill() {
	n.t.Helper()
	if err := n.process.Process.Kill(); err != nil {
		n.t.Fatal(err)
	}
	n.killed = true
	_ = n.process.Wait() // the error is that it was killed
}

func (n *node) machine(subject string) edit {
	return bearer(mint(n.issuer, claims{"sub": subject, "azp": subject}))
}

// send makes a request as an administrator, from any goroutine.
func (n *node) send(method, path string, edits ...edit) (answer, error) {
	admin := bearer(mint(n.issuer, claims{"sub": "alice", "groups": []string{"admin"}}))
	return tryOnce(n.client, method, n.url+path, append([]edit{admin}, edits...))
}

// create gives nil if the account was acknowledged.
func (n *node) create(subject string) error {
	got, err := n.send("POST", "/api/serviceaccounts", content(`{"subject":"`+subject+`","status":"active"}`))
	if err == nil && got.status != http.StatusCreated {
		err = fmt.Errorf("creating %s: got %d %s", subject, got.status, got.body)
	}
	return err
}

func (n *node) mustCreate(t *testing.T, subject string) {
	t.Helper()
	if err := n.create(subject); err != nil {
		t.Fatal(err)
	}
}

func (n *node) mustDisable(t *testing.T, subject string) {
	t.Helper()
	got, err := n.send("PUT", "/api/serviceaccounts/"+subject, content(`{"status":"inactive"}`))
	if err != nil || got.status != http.StatusOK {
		t.Fatalf("disabling %s: got %d %s, %v", subject, got.status, got.body, err)
	}
}

// subjects are those that the node knows.
func (n *node) subjects(t *testing.T) []string {
	t.Helper()
	got, err := n.send("GET", "/api/serviceaccounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(listed(t, got))
}

func (n *node) status(t *testing.T, subject string) int {
	t.Helper()
	got, err := try(n.client, "GET", n.url+"/", n.machine(subject))
	if err != nil {
		t.Fatal(err)
	}
	return got.status
}
