package auth

import (
	"strings"
	"sync"
	"testing"
)

func TestFingerprint(t *testing.T) {
	f, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	tokens := []string{"", "a", "b", "aa", "a\x00", "\x00", "\x00\x00", strings.Repeat("a", MaxTokenBytes), strings.Repeat("a", MaxTokenBytes-1)}
	seen := map[fingerprint]string{}
	for _, token := range tokens {
		sum := f.of(token)
		if other, twice := seen[sum]; twice {
			t.Errorf("tokens of %d and %d bytes share a fingerprint", len(token), len(other))
		}
		seen[sum] = token
		if f.of(token) != sum {
			t.Errorf("a token of %d bytes has two fingerprints", len(token))
		}
	}
	long := []byte(strings.Repeat("a", 900))
	sum := f.of(string(long))
	for i := range long {
		long[i] = 'b'
		if f.of(string(long)) == sum {
			t.Errorf("byte %d says nothing to the fingerprint", i)
		}
		long[i] = 'a'
	}
}

// Whoever knows one process's fingerprints knows nothing of another's.
func TestFingerprintsAreKeyed(t *testing.T) {
	one, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	if one.of("token") == other.of("token") {
		t.Error("two processes make the same fingerprint")
	}
}

func TestFingerprintTogether(t *testing.T) {
	f, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 {
		token := strings.Repeat(string(rune('a'+i)), 100+i)
		sum := f.of(token)
		group.Go(func() {
			for range 500 {
				if f.of(token) != sum {
					t.Error("the fingerprint changed")
					return
				}
			}
		})
	}
	group.Wait()
}
