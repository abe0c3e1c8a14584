package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// readyWithin bounds the wait for the gateway's first answer.
const readyWithin = 15 * time.Second

// Serve loads the Caddyfile into this process and waits until a request
// passes it. The returned func ends it and puts the environment back.
func Serve(ctx context.Context, stage *Stage, file string, verbose bool) (func() error, error) {
	restore := setEnvironment(stage.Environment())
	config, err := adaptDemo(stage, file, verbose)
	if err != nil {
		restore()
		return nil, err
	}
	stop := func() error {
		defer restore()
		return caddy.Stop()
	}
	if err := caddy.Load(config, true); err != nil {
		return nil, errors.Join(fmt.Errorf("loading %s: %w", file, err), stop())
	}
	if err := waitReady(ctx, stage); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// setEnvironment sets variables for the Caddyfile, which reads them from this
// process. The returned func puts back what was there.
func setEnvironment(vars map[string]string) (restore func()) {
	var undo []func()
	for name, value := range vars {
		old, was := os.LookupEnv(name)
		os.Setenv(name, value)
		undo = append(undo, func() {
			if !was {
				os.Unsetenv(name)
				return
			}
			os.Setenv(name, old)
		})
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// adaptDemo turns the Caddyfile into Caddy's JSON, and changes in it only what a
// demo must not do to the machine: keep its state, save its configuration, and
// fill the terminal with its log.
func adaptDemo(stage *Stage, file string, verbose bool) ([]byte, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the demo's Caddyfile: %w", err)
	}
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	adapted, _, err := adapter.Adapt(body, map[string]any{"filename": file})
	if err != nil {
		return nil, fmt.Errorf("reading the demo's Caddyfile: %w", err)
	}
	var config map[string]any
	dec := json.NewDecoder(bytes.NewReader(adapted))
	dec.UseNumber()
	if err := dec.Decode(&config); err != nil {
		return nil, fmt.Errorf("reading %s as adapted: %w", file, err)
	}
	config["storage"] = map[string]any{"module": "file_system", "root": filepath.Join(stage.Dir, "storage")}
	member(member(config, "admin"), "config")["persist"] = false
	if !verbose {
		member(member(member(config, "logging"), "logs"), "default")["level"] = "ERROR"
	}
	return json.Marshal(config)
}

// member is the object of that name in m, made if it is missing.
func member(m map[string]any, name string) map[string]any {
	if found, ok := m[name].(map[string]any); ok {
		return found
	}
	made := make(map[string]any)
	m[name] = made
	return made
}

// waitReady asks the gateway until it answers as it always will, so that the first
// line pasted meets one that has the issuer's keys and has read the accounts.
func waitReady(ctx context.Context, stage *Stage) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := askOnce(ctx, client, stage)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway does not answer as it should: %w", err)
		}
	}
}

func askOnce(ctx context.Context, client *http.Client, stage *Stage) error {
	status, err := ask(ctx, client, stage.Site, stage.Token())
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("status %d, want 200", status)
	}
	status, err = ask(ctx, client, stage.Site, stage.StrangerToken())
	if err == nil && status == http.StatusServiceUnavailable {
		err = errors.New("the service accounts are not read yet")
	}
	return err
}

func ask(ctx context.Context, client *http.Client, site, token string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, site+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// exampleName is the file that the demo loads.
const exampleName = "Caddyfile.example"

// FindExample looks for Caddyfile.example in dir and the folders above it. It is
// read from the checkout, not built in, so that an edit shows at once.
func FindExample(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		path := filepath.Join(at, exampleName)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no %s in %s or above it: run the demo inside the checkout, or name the file with --config", exampleName, dir)
		}
	}
}
