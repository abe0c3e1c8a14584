package account_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// writerFolder is the environment variable that makes this test binary a writer.
const writerFolder = "GATEHOUSE_TEST_WRITER_FOLDER"

// writeUntilKilled creates accounts in threes for ever, and prints the subjects
// of those that were acknowledged.
func writeUntilKilled() {
	r := account.New(registry.Options{WriteLimit: time.Minute})
	r.Attach(registry.Host[account.Account]{Storage: &certmagic.FileStorage{Path: os.Getenv(writerFolder)}, Refresh: refresh})
	prefix := os.Getenv(writerFolder + "_ROUND")
	for i := 0; ; i++ {
		var changes []account.Change
		for j := range 3 {
			changes = append(changes, account.Change{Op: account.Create, Draft: draft(fmt.Sprintf("%s-%d-%d", prefix, i, j))})
		}
		results, err := r.Apply(context.Background(), changes, nil)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, res := range results {
			fmt.Println(res.Account.Subject())
		}
	}
}

// TestKilledWriter kills a writing process five times.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	var acknowledged []string
	for round := range 5 {
		acknowledged = append(acknowledged, killedRound(t, folder, round, 20+11*round)...)
		// The dead process's lock expires after some ten seconds by itself.
		_ = os.Remove(folder + "/locks/gatehouse-accounts.lock")
		n := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t)
		for _, s := range acknowledged {
			if _, ok := n.Get(s); !ok {
				t.Errorf("round %d: %s was acknowledged and is not there", round, s)
			}
		}
		if n.Counts().Total()%3 != 0 {
			t.Errorf("round %d: %d accounts; they are written three at a time", round, n.Counts().Total())
		}
		if damaged := n.kinds(registry.Damaged); len(damaged) > 0 {
			t.Errorf("round %d: %v", round, damaged[0].Err)
		}
		_ = n.Close()
	}
}

// killedRound runs a writer and kills it after so many acknowledged accounts.
func killedRound(t *testing.T, folder string, round, after int) (acknowledged []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerFolder+"="+folder, fmt.Sprintf("%s_ROUND=r%d", writerFolder, round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := bufio.NewScanner(out)
	for read.Scan() {
		if acknowledged = append(acknowledged, read.Text()); len(acknowledged) == after {
			_ = cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || len(acknowledged) < after {
		t.Fatalf("the writer ended by itself after %d accounts: %v", len(acknowledged), err)
	}
	return acknowledged
}
