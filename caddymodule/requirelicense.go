package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// RequireLicense lets requests pass only where the deployment's license lets
// them: it is in force, names the request's Host, and grants the features below.
// Others are refused with 403. The app's `license` option says where the license
// comes from.
//
// Behind it, `{http.license.state}` and, under the same prefix, `type`,
// `description`, `expire_at` (Unix seconds), `key_id` and `features` (joined with
// `,`) tell of the license; `{http.license.code}` tells `handle_errors` why a
// request was refused, and is empty for others.
type RequireLicense struct {
	// Features that the license must all grant. Default: none.
	Features []string `json:"features,omitempty"`

	// `json` answers refusals with `{"message": "…", "code": "…"}`. `none`
	// leaves the body to Caddy's `handle_errors`. Default: what the bearer_auth
	// handlers of the same site have in common, else none.
	ErrorBody string `json:"error_body,omitempty"`

	// `off` refuses gRPC calls as all others, with an HTTP status. For sites
	// that answer the authorization requests of another proxy, to which the
	// status 200 of a gRPC refusal would mean yes. Default: on.
	GRPC string `json:"grpc,omitempty"`

	licensing *licensing.Licensing
	logger    *zap.Logger
	json      *atomic.Bool
}

// CaddyModule tells Caddy about the handler.
func (RequireLicense) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.require_license", New: func() caddy.Module { return new(RequireLicense) }}
}

// Provision finds the license.
func (l *RequireLicense) Provision(ctx caddy.Context) error {
	l.logger, l.json = ctx.Logger(), new(atomic.Bool)
	var err error
	if l.licensing, err = licensingOf(ctx); err != nil {
		return fmt.Errorf("require_license: %w", err)
	}
	l.json.Store(l.ErrorBody == respond.JSONBody)
	return checkPlacement(ctx)
}

// Validate checks the options.
func (l *RequireLicense) Validate() error {
	if err := l.check(); err != nil {
		return fmt.Errorf("require_license: %w", err)
	}
	return nil
}

func (l *RequireLicense) check() error {
	if err := respond.ErrorBodies.Check("error_body", l.ErrorBody); err != nil {
		return err
	}
	if err := parse.OnOff.Check("grpc", l.GRPC); err != nil {
		return err
	}
	return checkFeatures("feature", l.Features)
}

// parseRequireLicense reads the directive. Syntax:
//
//	require_license [<matcher>] {
//	    feature    <name...>    # all of them; repeatable
//	    error_body json|none
//	    grpc       on|off
//	}
func parseRequireLicense(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if err := parse.NoMore(h.Dispenser, "require_license"); err != nil {
		return nil, err
	}
	l := new(RequireLicense)
	return l, parse.Block(h.Dispenser, parse.Options{
		"feature":    parse.Words(&l.Features),
		"error_body": parse.OneOf(&l.ErrorBody, respond.ErrorBodies),
		"grpc":       parse.OneOf(&l.GRPC, parse.OnOff),
	}.CheckedBy(l.check))
}

// ServeHTTP lets the request pass or refuses it.
func (l *RequireLicense) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	replacerOf(r).Map(l.licensing.Placeholders)
	if fault := l.licensing.Check(r.Context(), r.Host, l.Features); fault != nil {
		return l.refuse(w, r, fault)
	}
	return next.ServeHTTP(w, r)
}

// alignErrorBodies has each require_license that the configuration gives no
// error_body answer as the bearer_auth handlers of its site do, if they agree.
func alignErrorBodies(ctx caddy.Context) error {
	type site struct {
		licenses []*RequireLicense
		differ   bool // some bearer_auth has no JSON body
		bearers  int
	}
	sites := make(map[*caddyhttp.MiddlewareHandler]*site) // by the outermost route, which is a copy, while its handlers are not
	err := eachHandler(ctx, func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		key := &around[0].Handlers[0]
		if sites[key] == nil {
			sites[key] = new(site)
		}
		switch h := handler.(type) {
		case *RequireLicense:
			sites[key].licenses = append(sites[key].licenses, h)
		case *BearerAuth:
			sites[key].bearers++
			sites[key].differ = sites[key].differ || h.ErrorBody != respond.JSONBody
		}
		return nil
	})
	for _, s := range sites {
		for _, l := range s.licenses {
			if l.ErrorBody == "" && s.bearers > 0 && !s.differ {
				l.json.Store(true)
			}
		}
	}
	return err
}

// licenseReasonHeader names the code of a refusal for the license in its answer,
// whatever becomes of the body.
const licenseReasonHeader = "Gatehouse-Reason"

// refuse answers as bearer_auth does: gRPC calls in gRPC's own way, where it is
// asked for with a JSON body, and else by Caddy's own error handling. In a sealed
// build it always answers itself: handle_errors is the configuration's, and could
// serve the request all the same.
func (l *RequireLicense) refuse(w http.ResponseWriter, r *http.Request, fault *license.Error) error {
	code, message := fault.Code(), refusalWords(fault)
	if c := l.logger.Check(zapcore.DebugLevel, "request refused"); c != nil {
		c.Write(zap.String("code", code), zap.String("host", r.Host), zap.Error(fault))
	}
	replacerOf(r).Set(licensing.CodePlaceholder, code)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set(licenseReasonHeader, code)
	asGRPC := &auth.Refusal{Status: http.StatusForbidden, Message: message}
	if l.GRPC != parse.Off && respond.IsGRPC(r) {
		return respond.GRPC(w, r, asGRPC)
	}
	if l.GRPC != parse.Off && respond.IsGRPCWeb(r) {
		respond.SetGRPCStatus(w.Header(), "", asGRPC)
	}
	if l.json.Load() {
		return respond.JSON(w, http.StatusForbidden, message, code)
	}
	if licensing.Sealed() {
		http.Error(w, message, http.StatusForbidden)
		return nil
	}
	return caddyhttp.Error(http.StatusForbidden, errors.New(message))
}

// refusalWords is the reason for anybody who asks. What exactly is wrong with a
// license that is not to be believed is for the operator alone, who finds it in
// the log and asks the API for it.
func refusalWords(fault *license.Error) string {
	switch fault.Code() {
	case license.ReasonMissing.Code():
		return "there is no license"
	case license.ReasonForm.Code():
		return "the license is not valid"
	case license.ReasonRevokedID.Code():
		return "the license has been revoked"
	case license.ReasonInstance.Code():
		return "the license is for another deployment"
	}
	return fault.Error()
}

var featureName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// checkFeatures refuses what can be the name of no feature.
func checkFeatures(option string, names []string) error {
	for _, name := range names {
		if !featureName.MatchString(name) {
			return fmt.Errorf("%s: found %q, expected lower-case letters, digits and hyphens, as in sso or audit-log", option, name)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*RequireLicense)(nil)
	_ caddy.Validator             = (*RequireLicense)(nil)
	_ caddyhttp.MiddlewareHandler = (*RequireLicense)(nil)
)
