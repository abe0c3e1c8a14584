package licensing

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// app is what the modules here ask of Gatehouse's app.
type app interface {
	Licensing() *Licensing // nil: no license is asked for
	CheckPlacement(ctx caddy.Context) error
}

// appOf gives the configuration's app, which must know of a license.
func appOf(ctx caddy.Context) (app, error) {
	configured, err := ctx.AppIfConfigured("gatehouse")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("the global option `gatehouse { … }` is missing: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if a := configured.(app); a.Licensing() != nil {
		return a, nil
	}
	return nil, errNoTrust
}

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

	licensing *Licensing
	logger    *zap.Logger
	json      *atomic.Bool
}

// CaddyModule tells Caddy about the handler.
func (RequireLicense) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.require_license", New: func() caddy.Module { return new(RequireLicense) }}
}

// Provision finds the license.
func (l *RequireLicense) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return fmt.Errorf("require_license: %w", err)
	}
	l.logger, l.licensing, l.json = ctx.Logger(), app.Licensing(), new(atomic.Bool)
	l.json.Store(l.ErrorBody == respond.JSONBody)
	return app.CheckPlacement(ctx)
}

// AnswerJSON has the handler answer with a JSON body where the configuration gives it no
// error_body.
func (l *RequireLicense) AnswerJSON() {
	if l.ErrorBody == "" {
		l.json.Store(true)
	}
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

// ServeHTTP lets the request pass or refuses it.
func (l *RequireLicense) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Map(l.licensing.placeholders)
	if fault := l.licensing.check(r.Context(), r.Host, l.Features); fault != nil {
		return l.refuse(w, r, fault)
	}
	return next.ServeHTTP(w, r)
}

// licenseReasonHeader names the code of a refusal for the license in its answer,
// whatever becomes of the body.
const licenseReasonHeader = "Gatehouse-Reason"

// refuse answers as bearer_auth does: gRPC calls in gRPC's own way, where it is
// asked for with a JSON body, and else by Caddy's own error handling. In a sealed
// build it always answers itself: handle_errors is the configuration's, and could
// serve the request all the same.
func (l *RequireLicense) refuse(w http.ResponseWriter, r *http.Request, fault *license.Error) error {
	code, message := fault.Code(), fault.Public()
	if c := l.logger.Check(zapcore.DebugLevel, "request refused"); c != nil {
		c.Write(zap.String("code", code), zap.String("host", r.Host), zap.Error(fault))
	}
	r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer).Set(codePlaceholder, code)
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
	if Sealed() {
		http.Error(w, message, http.StatusForbidden)
		return nil
	}
	return caddyhttp.Error(http.StatusForbidden, errors.New(message))
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

// MatchLicenseFeature matches while the license in force grants all of the
// features, whatever host is asked for. Without a license that lets pass it never
// matches, `missing allow` and `enforcement log` or not: nothing is granted then.
//
// In expressions: `license_feature('sso', 'audit')`.
type MatchLicenseFeature struct {
	// The features, of which the license must grant all. At least one is
	// required.
	Features []string `json:"features,omitempty"`

	licensing *Licensing
}

// CaddyModule tells Caddy about the matcher.
func (MatchLicenseFeature) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.license_feature",
		New: func() caddy.Module { return new(MatchLicenseFeature) },
	}
}

// Provision finds the license.
func (m *MatchLicenseFeature) Provision(ctx caddy.Context) error {
	if len(m.Features) == 0 {
		return errors.New("license_feature: expected at least one feature")
	}
	if err := checkFeatures("license_feature", m.Features); err != nil {
		return err
	}
	app, err := appOf(ctx)
	if err != nil {
		return fmt.Errorf("license_feature: %w", err)
	}
	m.licensing = app.Licensing()
	return app.CheckPlacement(ctx)
}

// Match is MatchWithError for callers that cannot take an error.
func (m *MatchLicenseFeature) Match(r *http.Request) bool {
	return m.licensing.grants(r.Context(), m.Features)
}

// MatchWithError tells whether all features are granted. It never fails.
func (m *MatchLicenseFeature) MatchWithError(r *http.Request) (bool, error) {
	return m.Match(r), nil
}

// CELLibrary makes the matcher a function of expressions.
func (*MatchLicenseFeature) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"license_feature", "license_feature_match_request_list", []*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			list, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, fmt.Errorf("license_feature: expected names of features: %w", err)
			}
			m := &MatchLicenseFeature{Features: list.([]string)}
			return m, m.Provision(ctx)
		},
	)
}

// PlaceholderPrefix begins the placeholders of the license.
const PlaceholderPrefix = "http.license."

// codePlaceholder says why a request was refused for the license.
const codePlaceholder = PlaceholderPrefix + "code"

// Placeholders are those of the license, without their prefix.
var Placeholders = []string{"state", "code", "type", "description", "expire_at", "key_id", "features"}

// resolve gives the value of a placeholder, from the license at the moment of
// asking. What an absent or unbelievable license does not tell is empty.
func (l *Licensing) resolve(key string) (any, bool) {
	name, ours := strings.CutPrefix(key, PlaceholderPrefix)
	if !ours || !slices.Contains(Placeholders, name) {
		return nil, false
	}
	validity := l.keeper.Validity()
	switch name {
	case "state":
		return string(validity.State()), true
	case "code": // of a request that was not refused
		return "", true
	}
	held := genuine(validity)
	if held == nil {
		return "", true
	}
	switch name {
	case "type":
		return string(held.Payload.Type), true
	case "description":
		return held.Payload.Description, true
	case "expire_at":
		return strconv.FormatInt(held.Payload.ExpireAt, 10), true
	case "key_id":
		return held.KeyID, true
	}
	return strings.Join(validity.Status("").Features, ","), true
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*RequireLicense)(nil)
	_ caddy.Validator                   = (*RequireLicense)(nil)
	_ caddyhttp.MiddlewareHandler       = (*RequireLicense)(nil)
	_ caddy.Provisioner                 = (*MatchLicenseFeature)(nil)
	_ caddyfile.Unmarshaler             = (*MatchLicenseFeature)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchLicenseFeature)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchLicenseFeature)(nil)
)
