package caddymodule

import (
	"context"
	"runtime/debug"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// operation gives the API what operators ask about.
func (a *App) operation() api.Operation {
	entrance := a.entrance
	o := api.Operation{
		Version: version(),
		Explain: func(ctx context.Context, token string) auth.Explanation {
			return entrance.verifier.Explain(ctx, token, entrance.registration)
		},
		Registry: a.accounts.view,
		Refusals: recentRefusals.sums,
	}
	for _, name := range a.issuerNames() {
		o.Issuers = append(o.Issuers, api.IssuerKeys{
			Name: name, Keys: a.gate.engines[name], KindsTold: a.tellsKinds(name),
			UnclearCallers: func() uint64 { return entrance.verifier.UnclearCallers(name) },
		})
	}
	return o
}

// tellsKinds tells whether the configuration says how people and machines of an
// issuer are told.
func (a *App) tellsKinds(name string) bool {
	return slices.ContainsFunc(a.Issuers, func(i *Issuer) bool { return i.policy.Name == name && i.policy.TellsKinds() })
}

const modulePath = "github.com/gatehouse-proxy/gatehouse"

// version is the version of this module in the running binary: of a local tree
// it is "(devel)", or what Go makes of its commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == modulePath {
		return info.Main.Version
	}
	for _, module := range info.Deps {
		if module.Path == modulePath {
			return module.Version
		}
	}
	return "unknown"
}
