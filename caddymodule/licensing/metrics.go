package licensing

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// DenialsTotal counts the requests that were refused for the license.
var DenialsTotal = metrics.Counter("license_denials_total",
	"Requests refused for the license, by the code of the refusal.", "code")

var (
	waivedTotal = metrics.Counter("license_waived_total",
		"Requests that the license did not let pass and that passed nevertheless, because of enforcement log or missing allow, by the code of the refusal.", "code")
	overLimitTotal = metrics.Counter("license_over_limit_total",
		"New people, and new service accounts, beyond what the license is for: let_in or refused.", "limit", "result")

	licenseExpiry = metrics.Gauge("license_expiry_timestamp_seconds",
		"When the license in force ends, in Unix time, without its grace. Absent without one.")
	licenseState = metrics.Gauge("license_state",
		"1 for the state that the license is in, 0 for the others. Absent where no license is asked for.", "state")
	licenseRefuses = metrics.Gauge("license_refuses",
		"1 while the license's state refuses every request behind require_license; 0 also where enforcement log or missing allow lets them pass. Absent where no license is asked for.")
	licenseSourceFault = metrics.Gauge("license_source_fault",
		"1 while a license is in force that its source no longer holds, so that a restart would lose it. Absent where no license is asked for.")
	licenseLimit = metrics.Gauge("license_limit",
		"What the license in force is for at most. Absent for a limit that it does not have.", "limit")
	licenseUsed = metrics.Gauge("license_used",
		"How much of a limit of the license is used: people who were seen within 30 days, or service accounts. Absent for a limit that it does not have.", "limit")
	revocationsLate = metrics.Gauge("license_revocation_list_late",
		"1 while the list of revoked licenses is older than it should be, or none ever came. Absent without revocation_list.")
	revocationsNext = metrics.Gauge("license_revocation_list_next_update_timestamp_seconds",
		"By when the list of revoked licenses should be followed by a newer one, in Unix time. Absent while none is known.")
	renewalFault = metrics.Gauge("license_renewal_fault",
		"1 while the last try to renew the license came to nothing, or what the vendor sent was kept aside. Absent without renew.")
	clockSuspect = metrics.Gauge("clock_suspect",
		"1 while the clock is more than a day behind a time that was seen before. Absent where no license is asked for.")
)

// refusalCodes are the codes of refusals for the license.
var refusalCodes = func() (codes []string) {
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonRevokedID, license.ReasonInstance, license.ReasonExpired,
		license.ReasonNotYetValid, license.ReasonHost, license.ReasonFeature,
	} {
		codes = append(codes, reason.Code())
	}
	return codes
}()

// Show shows what the license is like now, its limits and how much of them is used.
func (l *Licensing) Show(show metrics.Show) {
	if l == nil {
		return
	}
	validity := l.keeper.Validity()
	current := validity.State()
	for _, state := range license.States() {
		show(licenseState, metrics.OneIf(state == current), string(state))
	}
	if held := genuine(validity); held != nil {
		show(licenseExpiry, metrics.Unix(time.Unix(held.Payload.ExpireAt, 0)))
	}
	refuses := !current.Passes() && !l.log.advisory && (current != license.StateMissing || !l.log.missingAllow)
	show(licenseRefuses, metrics.OneIf(refuses))
	show(licenseSourceFault, metrics.OneIf(l.keeper.Fault() != nil))
	show(clockSuspect, metrics.OneIf(l.keeper.ClockSuspect()))
	if list, configured := l.keeper.Revocations(); configured {
		show(revocationsLate, metrics.OneIf(list.Late))
		if list.Version > 0 {
			show(revocationsNext, float64(list.NextUpdate))
		}
	}
	if renewal, configured := l.keeper.Renewal(); configured {
		show(renewalFault, metrics.OneIf(renewal.Error != ""))
	}
	for _, name := range countedLimits {
		if limit, limited := l.Limits.limit(name); limited {
			show(licenseLimit, float64(limit.Most), name)
			show(licenseUsed, float64(l.Limits.used(name)), name)
		}
	}
}
