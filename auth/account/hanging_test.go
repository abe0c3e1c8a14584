package account_test

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

// hanging is a storage that answers nothing until it is released.
type hanging struct {
	release chan struct{}
}

func (h *hanging) hang() error {
	<-h.release
	return faultstorage.ErrDown
}

func (h *hanging) Lock(context.Context, string) error           { return h.hang() }
func (h *hanging) Unlock(context.Context, string) error         { return h.hang() }
func (h *hanging) Store(context.Context, string, []byte) error  { return h.hang() }
func (h *hanging) Load(context.Context, string) ([]byte, error) { return nil, h.hang() }
func (h *hanging) Delete(context.Context, string) error         { return h.hang() }
func (h *hanging) List(context.Context, string, bool) ([]string, error) {
	return nil, h.hang()
}
