package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// ErrPassphrase says that an age file cannot be opened without a passphrase.
var ErrPassphrase = errors.New("the key is an age file; want its passphrase")

const ageHeader = "age-encryption.org/"

// maxWorkFactor bounds the memory and time that opening a file may take: scrypt
// with N = 2^20 takes 1 GiB. The age command writes 2^18.
const maxWorkFactor = 20

func isArmored(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header))
}

func isAge(data []byte) bool {
	return isArmored(data) || bytes.HasPrefix(data, []byte(ageHeader))
}

// decrypt opens an age file with a passphrase.
func decrypt(data []byte, passphrase string) ([]byte, error) {
	passphrase = strings.TrimRight(passphrase, "\r\n")
	if passphrase == "" {
		return nil, ErrPassphrase
	}
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("taking the passphrase: %w", err)
	}
	identity.SetMaxWorkFactor(maxWorkFactor)
	var file io.Reader = bytes.NewReader(data)
	if isArmored(data) {
		file = armor.NewReader(file)
	}
	plain, err := age.Decrypt(file, identity)
	if err != nil {
		return nil, fmt.Errorf("opening the age file with the passphrase: %w", err)
	}
	key, err := io.ReadAll(plain)
	if err != nil {
		return nil, fmt.Errorf("reading the age file: %w", err)
	}
	return key, nil
}
