"use strict";
(() => {
	const reasons = {/* reasons.json */};
	const refreshEvery = 15000;
	const element = id => document.getElementById(id);
	const trusted = "trusted" in document.documentElement.dataset; // asks for no token
	let token = ""; // nowhere else
	let asked = 0; // which answer is the newest one
	let status; // the last one
	let lost = ""; // why it could not be refreshed
	let paused = false;

	// Elements

	const make = (name, text, kind) => {
		const made = document.createElement(name);
		if (text !== undefined) made.textContent = text;
		if (kind) made.className = kind;
		return made;
	};
	const put = (parent, ...children) => {
		parent.append(...children.filter(child => child !== undefined && child !== ""));
		return parent;
	};
	const set = (at, text) => {
		if (at.textContent !== text) at.textContent = text; // else a screen reader says it again
	};
	const badge = (at, text, kind) => {
		at.textContent = text;
		at.className = text ? "badge " + kind : "badge";
		at.hidden = !text;
		return at;
	};
	const button = (text, key, pressed) => {
		const made = make("button", text);
		made.type = "button";
		made.dataset.key = key;
		made.addEventListener("click", pressed);
		return made;
	};
	const facts = pairs => {
		const list = make("dl");
		for (const [name, value] of pairs) {
			if (value) list.append(make("dt", name), put(make("dd"), value));
		}
		return list;
	};
	const number = (n, one, many = one + "s") => n.toLocaleString("en") + " " + (n === 1 ? one : many);

	// One form of time for all: UTC, and how long ago.

	const stamp = moment => new Date(moment).toISOString().slice(0, 19).replace("T", " ") + " UTC";
	const clock = moment => stamp(moment).slice(11, 16) + " UTC";
	const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
	const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
	const distance = moment => {
		const seconds = (new Date(moment) - Date.now()) / 1000;
		const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[3];
		return relative.format(Math.round(seconds / size), unit);
	};
	const time = moment => {
		if (!moment) return "never";
		const made = make("time", distance(moment) + ", " + stamp(moment));
		made.dateTime = moment;
		return made;
	};
	const tick = () => {
		for (const one of document.querySelectorAll("time")) set(one, distance(one.dateTime) + ", " + stamp(one.dateTime));
	};

	// draw fills a part of the page anew where its data changed. What was open stays
	// open, and what had the focus keeps it; if it is gone, the heading gets it.
	const drawn = {};
	const draw = (id, data, parts) => {
		const text = JSON.stringify(data);
		if (drawn[id] === text) return;
		drawn[id] = text;
		const at = element(id);
		const had = at.contains(document.activeElement), focused = document.activeElement.dataset.key;
		const open = [...at.querySelectorAll("details[open]")].map(one => one.dataset.key);
		at.replaceChildren(...parts());
		for (const one of at.querySelectorAll("details")) one.open = open.includes(one.dataset.key);
		if (!had || at.tagName === "SELECT") return;
		const again = [...at.querySelectorAll("[data-key]")].find(one => one.dataset.key === focused && one.tagName !== "DETAILS");
		(again || at.closest("section").querySelector("h2")).focus({ preventScroll: true });
	};
	const goTo = (text, id, before) => {
		const link = make("a", text);
		link.href = "#" + id;
		link.dataset.key = "to " + id + " " + text;
		link.addEventListener("click", event => {
			event.preventDefault();
			if (before) before();
			const at = element(id);
			at.scrollIntoView();
			at.focus({ preventScroll: true });
		});
		return link;
	};
	const toReason = reason => goTo(reason, "refusals-title", () => {
		const one = [...document.querySelectorAll("#refusals details")].find(one => one.dataset.key === reason);
		if (!one) return;
		one.open = true;
		setTimeout(() => one.querySelector("summary").focus());
	});

	// The API

	const call = async (path, method, body, headers) => {
		const answer = await fetch("../api/" + path, {
			method: method || "GET", body,
			headers: { ...(token ? { Authorization: "Bearer " + token } : {}), ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
			cache: "no-store", credentials: "omit", redirect: "error",
		});
		const text = await answer.text();
		let value = {};
		try { value = text ? JSON.parse(text) : {}; } catch { value = { message: "the answer is no JSON" }; }
		if (answer.ok) return { value, tag: answer.headers.get("ETag") };
		const fault = new Error(value.message || "status " + answer.status);
		fault.status = answer.status;
		throw fault;
	};

	// act does what somebody asked for; a token that is no longer good is asked for.
	const act = async (work, failed) => {
		try {
			await work();
		} catch (fault) {
			if (fault.status === 401 || fault.status === 403) ask(fault.message, true);
			else failed(fault.message);
		}
	};

	// The verdict

	const refusing = { missing: "There is no license", invalid: "The license is not valid", revoked: "The license has been revoked", not_yet_valid: "The license is not valid yet", expired: "The license has ended" };
	const storageFaults = {
		unread: ["bad", "The service accounts have not been read yet", "Machines that must be registered get 503 until they are.", "Make storage reachable; the log has the cause."],
		away: ["warn", "Storage is out of reach", "No account can be changed, and changes made elsewhere are not seen. Those known stay in force.", "Make storage reachable; the log has the cause."],
		emptied: ["bad", "Storage answers, and holds no service accounts any more", "Those known stay in force until an operator decides.", "caddy gatehouse service-account repair"],
		diverged: ["bad", "Storage holds other service accounts", "They were begun without those known here, which stay in force until an operator decides.", "caddy gatehouse service-account repair"],
	};

	const overLimits = license => Object.entries(license.usage).filter(([, share]) => share.limit >= 0 && share.used > share.limit);
	const licenseProblems = license => {
		const found = [], at = goTo("License", "license-title");
		if (!license) return found;
		if (refusing[license.state]) {
			found.push({ level: "bad", what: refusing[license.state], so: "Sites behind require_license refuse requests with 403, unless they say enforcement log or the license is allowed to be missing." + (license.verify_error ? " The reason: " + license.verify_error : ""), out: ["Install a license with ", make("code", "caddy gatehouse install"), ". Nothing has to be restarted. See ", at] });
		} else if (license.state === "grace") {
			found.push({ level: "bad", what: "The license has ended", so: "It is honored for its grace only; then sites behind require_license refuse requests.", out: ["Get a new one from the vendor. See ", at] });
		} else if (license.state === "expiring") {
			found.push({ level: "warn", what: "The license ends in " + number(license.days_left, "day"), so: "Then, and after its grace, sites behind require_license refuse requests.", out: ["Get a new one from the vendor. See ", at] });
		}
		if (license.source_error) found.push({ level: "warn", what: "The license is not where it came from", so: license.source + ": " + license.source_error + ". It stays in force, but not after a restart.", out: ["Put it back before the next restart. See ", at] });
		for (const [name, share] of overLimits(license)) {
			const refuses = share.enforcement === "deny";
			found.push({ level: refuses ? "bad" : "warn", what: "More " + name.replaceAll("_", " ") + " than the license is for: " + share.used.toLocaleString("en") + " of " + share.limit.toLocaleString("en"), so: refuses ? "New ones are refused; whoever was in stays in." : "Nothing is refused for it.", out: ["Ask the vendor for a larger license. See ", at] });
		}
		const list = license.revocation_list, renewal = license.renewal;
		if (list && (list.late || list.error)) found.push({ level: "warn", what: list.late ? "The list of revoked licenses is late" : "The list of revoked licenses cannot be fetched", so: "The last one stays in force. " + list.error, out: ["See ", at] });
		if (renewal && renewal.error) found.push({ level: "warn", what: "The license is not renewed", so: "The one in force stays until its end and its grace. " + renewal.error, out: ["Ask the vendor. See ", at] });
		if (license.clock_suspect) found.push({ level: "bad", what: "The clock is wrong", so: "It is more than a day behind a time that was seen before. Licenses and tokens are judged by it.", out: ["Set the clock of this machine."] });
		return found;
	};
	const issuerProblems = issuer => {
		const found = [], fetchNow = fetchButton(issuer), at = goTo(issuer.name, "issuers-title");
		if (!issuer.keys.length && !issuer.healthy) {
			found.push({ level: "bad", what: "There are no keys of " + issuer.name, so: (issuer.introspection ? "Its JWTs get 503." : "Its callers get 503.") + (issuer.last_error ? " The last fetch failed: " + issuer.last_error : ""), out: ["Check network, DNS and proxy between this server and the issuer. See ", at], act: fetchNow });
		} else if (issuer.last_error) {
			found.push({ level: "warn", what: "The keys of " + issuer.name + " cannot be fetched", so: "Those known are used until max_stale is over; tokens with a new key get 503. " + issuer.last_error, out: ["Check network, DNS and proxy between this server and the issuer. See ", at], act: fetchNow });
		} else if (!issuer.healthy || issuer.restored) {
			found.push({ level: "warn", what: "The keys of " + issuer.name + " are those that were kept", so: "They have not been fetched since this server started. A key that was withdrawn may still be among them.", out: ["See ", at], act: fetchNow });
		}
		if (issuer.introspection?.last_error) found.push({ level: "bad", what: issuer.name + " does not answer introspection requests", so: "Callers whose token it was not asked about lately get 503. " + issuer.introspection.last_error, out: ["Check network, client_id and its secret. See ", at] });
		if (issuer.events?.poll_failure) found.push({ level: "warn", what: "Events of " + issuer.name + " cannot be fetched", so: "Who is logged out or disabled there is still let in here. " + issuer.events.poll_failure, out: ["See ", goTo(issuer.name, "issuers-title")] });
		if (issuer.ignored.length) found.push({ level: "warn", what: number(issuer.ignored.length, "key") + " of " + issuer.name + " cannot be used", so: "Tokens with such a signature are refused.", out: ["The reasons: ", at] });
		if (issuer.unclear_callers && !issuer.kinds_told) found.push({ level: "warn", what: "People and machines of " + issuer.name + " cannot be told apart", so: "It is so of " + number(issuer.unclear_callers, "token") + ".", out: ["Make sure that they are access tokens. Then name the preset of the provider, or write kind … when."] });
		return found;
	};
	const problems = () => {
		const found = [...licenseProblems(status.license), ...status.issuers.flatMap(issuerProblems)];
		const accounts = status.accounts, fault = storageFaults[accounts.storage] || (accounts.storage_away ? storageFaults.away : accounts.loaded ? undefined : storageFaults.unread);
		if (fault) {
			const [level, what, so, out] = fault;
			found.push({ level, what, so, out: [out.startsWith("caddy ") ? make("code", out) : out, " See ", goTo("Node and storage", "storage-title")] });
		}
		if (!status.revocations.loaded) found.push({ level: "bad", what: "The revocations have not been read yet", so: "Every token gets 503 until they are.", out: ["Make storage reachable; the log has the cause."] });
		if (status.dpop?.other_nodes) found.push({ level: "warn", what: number(status.dpop.other_nodes, "other node shares", "other nodes share") + " this storage, and DPoP proofs carry no nonce", so: "A proof that is intercepted can be used once at each.", out: ["Write ", make("code", "dpop { nonce node }")] });
		if (status.seats && status.seats.storage !== "ready") found.push({ level: status.seats.storage === "unread" ? "warn" : "bad", what: "The storage of the activations is " + status.seats.storage, so: "No license is handed out or renewed in exchange for a login.", out: ["The log has the cause."] });
		if (accounts.unconfirmed) found.push({ level: "warn", what: number(accounts.unconfirmed, "account is", "accounts are") + " of an issuer that had another identifier", so: "They let nobody in.", out: ["Confirm them, if they are meant: ", make("code", "caddy gatehouse service-account confirm")] });
		let letIn = 0, refused = 0;
		const by = {};
		for (const one of status.hour.series) {
			const n = one.counts.slice(-10).reduce((sum, n) => sum + n, 0);
			if (one.result === "let_in") letIn += n;
			else refused += n, by[one.result] = (by[one.result] || 0) + n;
		}
		if (refused >= 20 && refused > letIn) {
			const [most] = Object.entries(by).sort((a, b) => b[1] - a[1])[0];
			found.push({ level: "warn", what: "More is refused than let in", so: "In the last 10 minutes " + refused.toLocaleString("en") + " of " + (refused + letIn).toLocaleString("en") + " requests.", out: ["Most of them for ", toReason(most)] });
		}
		if (lost) found.unshift({ level: "bad", what: "This page is not up to date", so: lost + ". What it shows is of " + stamp(status.at) + ".", out: ["It tries again every 15 seconds."] });
		return [...found.filter(one => one.level === "bad"), ...found.filter(one => one.level === "warn")];
	};
	const showVerdict = () => {
		const found = problems();
		const bad = found.filter(one => one.level === "bad").length;
		const look = found.length - bad;
		const title = !found.length ? "All is well" : !bad ? number(look, "thing") + " to look at" : number(bad, "thing") + " to mend" + (look ? ", " + look + " to look at" : "");
		element("verdict-card").className = "wide verdict" + (bad ? " has-bad" : found.length ? " has-warn" : "");
		set(element("verdict-title"), title);
		set(element("said"), [title, ...found.map(one => one.what)].join(". "));
		document.title = (found.length ? "(" + found.length + ") " : "") + "Gatehouse" + (status.node ? " on " + status.node : "");
		const told = found.map(one => [one.level, one.what, one.so, one.out.map(part => part.textContent || part)]);
		const well = [number(status.issuers.length, "issuer") + " with keys", status.license ? "license " + status.license.state : "no license asked for", "storage answers"].join(", ");
		draw("verdict", [told, well], () => {
			if (!found.length) return [make("p", well[0].toUpperCase() + well.slice(1) + ".", "quiet")];
			const list = make("ul", undefined, "problems");
			for (const one of found) {
				const row = make("li");
				row.append(badge(make("span"), one.level === "bad" ? "mend" : "look", one.level), " ", make("b", one.what), put(make("p"), one.so), put(make("p"), ...one.out));
				if (one.act) row.append(put(make("p"), one.act));
				list.append(row);
			}
			return [list];
		});
	};

	// The last hour

	const sum = list => list.reduce((all, n) => all + n, 0);
	const minutes = fits => {
		const all = new Array(60).fill(0);
		for (const one of status.hour.series) if (fits(one)) one.counts.forEach((n, i) => { all[i] += n; });
		return all;
	};
	const none = "(none)"; // a token of no configured issuer, or no token at all
	const options = (id, first, names) => {
		draw(id, names, () => {
			const chosen = element(id).value;
			const made = [["", first], ...names.map(name => ["=" + name, name || none])].map(([value, text]) => {
				const one = make("option", text);
				one.value = value;
				one.selected = value === chosen;
				return one;
			});
			return made;
		});
	};
	const bars = (id, counts, kind, at) => {
		const chart = element(id), most = Math.max(...counts, 1);
		const rect = (i, height, kind) => {
			const one = document.createElementNS(chart.namespaceURI, "rect");
			for (const [name, value] of Object.entries({ x: i * 10 + (height === 100 && kind === "at" ? 0 : 1), width: kind === "at" ? 10 : 8, y: 100 - height, height, class: kind })) one.setAttribute(name, value);
			return one;
		};
		chart.replaceChildren(rect(at, 100, "at"), ...counts.flatMap((n, i) => n ? [rect(i, Math.max(3, 95 * n / most), kind)] : []));
	};
	const showHour = () => {
		const series = status.hour.series;
		const issuers = [...new Set([...status.issuers.map(one => one.name), ...series.map(one => one.issuer)])];
		options("hour-issuer", "all issuers", issuers);
		options("hour-reason", "any reason", [...new Set(series.map(one => one.result).filter(one => one !== "let_in"))].sort());
		const issuer = element("hour-issuer").value, reason = element("hour-reason").value;
		const ours = series.filter(one => !issuer || "=" + one.issuer === issuer);
		const isRefused = one => one.result !== "let_in" && (!reason || "=" + one.result === reason);
		const letIn = minutes(one => ours.includes(one) && one.result === "let_in"), refused = minutes(one => ours.includes(one) && isRefused(one));
		const at = Number(element("minute").value), begin = new Date(status.hour.begin).getTime();
		set(element("in-sum"), sum(letIn).toLocaleString("en") + " let in");
		set(element("out-sum"), sum(refused).toLocaleString("en") + " refused" + (reason ? " for " + reason.slice(1) : ""));
		set(element("in-most"), "at most " + Math.max(...letIn).toLocaleString("en") + " in a minute");
		set(element("out-most"), "at most " + Math.max(...refused).toLocaleString("en") + " in a minute");
		bars("in-chart", letIn, "in", at);
		bars("out-chart", refused, "out", at);
		const why = {};
		for (const one of ours) if (isRefused(one) && one.counts[at]) why[one.result] = (why[one.result] || 0) + one.counts[at];
		const told = clock(begin + at * 60000) + ": " + letIn[at].toLocaleString("en") + " let in, " + refused[at].toLocaleString("en") + " refused" +
			(refused[at] ? " (" + Object.entries(why).sort((a, b) => b[1] - a[1]).map(([name, n]) => name + " " + n.toLocaleString("en")).join(", ") + ")" : "");
		set(element("minute-told"), told);
		element("minute").setAttribute("aria-valuetext", told);
	};
	const showRefusals = () => {
		const rows = Object.entries(status.refusals).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
		const of = reason => status.hour.series.filter(one => one.result === reason).map(one => [one.issuer || none, sum(one.counts)]);
		draw("refusals", rows.map(row => [...row, of(row[0])]), () => {
			if (!rows.length) return [make("p", "None.", "quiet")];
			const list = make("ul", undefined, "bars");
			for (const [reason, count] of rows) {
				const bar = make("i"), one = make("details"), known = reasons[reason], summary = make("summary");
				bar.style.width = 100 * count / rows[0][1] + "%";
				one.dataset.key = summary.dataset.key = reason;
				summary.append(make("span", reason), make("b", count.toLocaleString("en")), bar);
				const more = facts([
					["Message", known?.message], ["It means", known?.means], ["What to do", known?.do],
					["By issuer", of(reason).map(([name, n]) => name + " " + n.toLocaleString("en")).join(", ")],
				]);
				const show = goTo("Show it by minute", "hour-title", () => { element("hour-reason").value = "=" + reason; showHour(); });
				one.append(summary, put(make("div"), more, put(make("p"), show)));
				list.append(put(make("li"), one));
			}
			return [list];
		});
	};

	// Accounts

	const changeOf = account => status.changes.find(one => one.outcome === "done" && one.action.startsWith("service_account.") &&
		(one.target === account.subject || one.target === account.issuer + "/" + account.subject));
	const showAccounts = () => draw("accounts", [status.accounts.active, status.accounts.inactive, status.accounts.expired], () => {
		const counts = make("dl", undefined, "counts");
		for (const kind of ["active", "inactive", "expired"]) {
			counts.append(put(make("div"), make("dt", kind), make("dd", status.accounts[kind].toLocaleString("en"))));
		}
		return [counts];
	});
	// Each way out of the dialog answers at once: the event close comes later, when the
	// dialog may be open again.
	const confirmed = (title, what, yes) => new Promise(resolve => {
		const sure = element("sure");
		const answer = is => () => { resolve(is); sure.close(); };
		element("sure-title").textContent = title;
		element("sure-what").textContent = what;
		element("sure-yes").textContent = yes;
		element("sure-yes").onclick = answer(true);
		element("sure-no").onclick = sure.oncancel = answer(false);
		sure.showModal();
		element("sure-no").focus();
	});
	const pathOf = account => "serviceaccounts/" + encodeURIComponent(account.id) + "?issuer=" + encodeURIComponent(account.issuer);
	const turn = async (account, row) => {
		const off = account.status === "active";
		const sure = await confirmed((off ? "Switch off " : "Switch on ") + account.subject + "?",
			off ? "Its tokens are refused from now on, and its open streams are cut." : "Its tokens are let in again.", off ? "Switch off" : "Switch on");
		if (!sure) return;
		await act(async () => {
			const now = await call(pathOf(account));
			const done = await call(pathOf(account), "PUT", JSON.stringify({ ...now.value, status: off ? "inactive" : "active" }), { "If-Match": now.tag });
			set(element("found"), account.subject + " is switched " + (off ? "off." : "on."));
			await refresh();
			const fresh = accountRow(done.value);
			row.replaceWith(fresh);
			fresh.querySelector("button").focus();
		}, message => set(element("found"), account.subject + " was not changed: " + message));
	};
	const accountRow = account => {
		const row = make("li"), title = make("h3", account.subject);
		const expired = account.expires_at && new Date(account.expires_at) < Date.now();
		const state = expired ? "expired" : account.status;
		title.append(badge(make("span"), state, state === "active" ? "good" : state === "expired" ? "warn" : "bad"));
		const by = changeOf(account);
		row.append(title, facts([
			["Name", account.name], ["Issuer", account.issuer], ["Groups", account.groups.join(", ")],
			["Expires", account.expires_at && time(account.expires_at)],
			["Changed", account.updated_at && put(make("span"), time(account.updated_at), by ? " by " + by.actor : "")],
		]));
		if (account.created_at) {
			const turned = button(account.status === "active" ? "Switch off" : "Switch on", account.id, () => turn(account, row));
			turned.setAttribute("aria-label", turned.textContent + " " + account.subject);
			row.append(turned);
		} else {
			row.append(make("p", "The configuration declares it, and it is changed there.", "quiet"));
		}
		return row;
	};
	const shownAccounts = 50;
	const search = () => act(async () => {
		const found = (await call("serviceaccounts?limit=" + (shownAccounts + 1) + "&search=" + encodeURIComponent(element("searched").value.trim()))).value;
		element("list").replaceChildren(...found.slice(0, shownAccounts).map(accountRow));
		element("list").hidden = !found.length;
		set(element("found"), found.length > shownAccounts ? "The first " + shownAccounts + " are shown; there are more." : number(found.length, "account") + " found.");
	}, message => set(element("found"), "The accounts cannot be read: " + message));

	// Revocations

	const targets = { subject: "Subject", session: "Session", client: "Client", token_id: "Token" };
	const showRevocations = () => {
		const revoked = status.revocations, well = revoked.loaded && revoked.storage === "ready";
		badge(element("revocations-count"), revoked.loaded ? revoked.count.toLocaleString("en") + " in force" : "not read yet", well ? "good" : "bad");
	};
	const takeBack = async (one, what, row) => {
		if (!await confirmed("Take back the revocation of " + what + "?", "The tokens that it refuses are let in again.", "Take back")) return;
		await act(async () => {
			await call("revocations/" + encodeURIComponent(one.id), "DELETE");
			row.remove();
			set(element("revoked-found"), what + " is let in again.");
			await refresh();
			element("revocations-title").focus();
		}, message => set(element("revoked-found"), "It was not taken back: " + message));
	};
	const revocationRow = one => {
		const target = Object.keys(targets).find(name => one[name]), what = targets[target].toLowerCase() + " " + one[target];
		const row = make("li"), back = button("Take back", one.id, () => takeBack(one, what, row));
		back.setAttribute("aria-label", "Take back the revocation of " + what);
		row.append(make("h3", one[target]), facts([
			["Revoked is", targets[target]], ["Issuer", one.issuer || one.issuer_identifier], ["Issued before", stamp(one.issued_before * 1000)],
			["By", one.by], ["Reason", one.reason], ["Since", time(one.created_at)], ["Kept until", time(one.expires_at)],
		]), back);
		return row;
	};
	const searchRevoked = () => act(async () => {
		const found = (await call("revocations?limit=" + (shownAccounts + 1) + "&search=" + encodeURIComponent(element("revoked-searched").value.trim()))).value;
		element("revoked").replaceChildren(...found.slice(0, shownAccounts).map(revocationRow));
		element("revoked").hidden = !found.length;
		set(element("revoked-found"), found.length > shownAccounts ? "The first " + shownAccounts + " are shown; there are more." : number(found.length, "revocation") + " found.");
	}, message => set(element("revoked-found"), "The revocations cannot be read: " + message));

	// Tokens

	const marks = { true: ["holds", "good"], false: ["does not hold", "bad"], null: ["not checked", "warn"] };
	const plain = value => value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value);
	const explain = () => act(async () => {
		const given = element("explained-token");
		const told = (await call("tokens/explain", "POST", JSON.stringify({ token: given.value.trim().replace(/^bearer\s+/i, "") }))).value;
		given.value = "";
		element("explain-fault").hidden = true;
		const letIn = told.verdict === "let_in", known = reasons[told.reason];
		const title = make("h3", letIn ? "It is let in" : "It is refused: " + told.message);
		title.tabIndex = -1;
		title.append(badge(make("span"), letIn ? "let in" : told.reason, letIn ? "good" : "bad"));
		const list = make("ul", undefined, "list");
		for (const rule of told.rules) {
			const row = make("li"), name = make("b", rule.rule);
			row.append(name, " ", badge(make("span"), ...marks[rule.held]), facts([["Expected", plain(rule.expected)], ["Found", plain(rule.found)]]));
			list.append(row);
		}
		const at = element("explained");
		at.replaceChildren(title, facts([["It means", known?.means], ["What to do", known?.do], ["Issuer", told.issuer], ["Route", letIn && "Rules of a single route, such as scope and group, are not part of this: token explain --rule shows those that have a name."]]), list);
		if (told.claims) at.append(make("h3", "Claims"), make("pre", JSON.stringify(told.claims, null, 2)));
		title.focus();
	}, message => {
		element("explain-fault").textContent = message;
		element("explain-fault").hidden = false;
	});

	// Issuers, license, storage

	const fetchButton = issuer => {
		const made = button("Fetch keys now", "fetch " + issuer.name, () => act(async () => {
			await call("issuers/" + encodeURIComponent(issuer.name) + "/refresh", "POST");
			toldFetched("The keys of " + issuer.name + " were fetched.");
			await refresh();
		}, toldFetched));
		made.setAttribute("aria-label", "Fetch keys of " + issuer.name + " now");
		return made;
	};
	const toldFetched = message => {
		element("fetched").hidden = false;
		set(element("fetched"), message);
	};
	const showIssuers = () => draw("issuers", status.issuers, () => status.issuers.map(issuer => {
		const one = make("div", undefined, "issuer"), title = make("h3", issuer.name);
		title.append(badge(make("span"), issuer.healthy ? (issuer.restored ? "kept keys" : "healthy") : "not healthy", issuer.healthy ? (issuer.restored ? "warn" : "good") : "bad"));
		one.append(title, make("div", issuer.issuer, "quiet"));
		if (issuer.last_error) one.append(put(make("p", undefined, "fault"), issuer.last_error + " (", time(issuer.last_error_at), ")"));
		const events = issuer.events;
		if (events?.poll_failure) one.append(make("p", "Events cannot be fetched: " + events.poll_failure, "fault"));
		one.append(facts([
			["Source", issuer.source], ["Fetched", time(issuer.fetched_at)], ["Next refresh", issuer.next_refresh && time(issuer.next_refresh)],
			["Events", events && events.ways.join(", ")], ["Last event", events?.last_event && time(events.last_event)], ["Last poll", events?.last_poll && time(events.last_poll)],
		]));
		const keys = make("ul", undefined, "keys");
		for (const key of issuer.keys) {
			keys.append(put(make("li", [key.kid || "(no id)", key.alg || key.kty].join("  ")), key.serves_until ? " withdrawn, used until " + stamp(key.serves_until) : ""));
		}
		one.append(issuer.keys.length ? keys : make("p", "No keys.", "quiet"));
		const asked = issuer.introspection;
		if (asked) one.append(facts([["Asked about tokens", asked.endpoint || "no address known yet"], ["Answers", number(asked.active, "active token") + ", " + number(asked.inactive, "token") + " not active, " + asked.failed.toLocaleString("en") + " failed, " + asked.limited.toLocaleString("en") + " not sent"], ["Answered", asked.answered_at && time(asked.answered_at)], ["Fault", asked.last_error]]));
		for (const ignored of issuer.ignored) one.append(make("p", "Not used: " + ignored, "quiet"));
		one.append(put(make("p"), fetchButton(issuer)));
		return one;
	}));
	const licenseKinds = { valid: "good", expiring: "warn", grace: "warn" };
	const showLicense = () => draw("license", status.license, () => {
		const license = status.license;
		badge(element("license-state"), license ? license.state.replaceAll("_", " ") : "", license && (licenseKinds[license.state] && (license.source_error || license.clock_suspect) ? "warn" : licenseKinds[license.state]) || "bad");
		if (!license) return [make("p", "No license is asked for here.", "quiet")];
		const parts = [];
		if (license.expire_at) parts.push(make("div", number(license.days_left, "day") + " left", "days"));
		if (license.verify_error) parts.push(make("p", license.verify_error, "fault"));
		if (license.source_error) parts.push(make("p", license.source + ": " + license.source_error + "; the license stays in force, but not after a restart", "fault"));
		if (license.clock_suspect) parts.push(make("p", "The clock is more than a day behind a time that was seen before; licenses and tokens are judged by it.", "fault"));
		parts.push(facts([
			["Ends", license.expire_at ? stamp(license.expire_at * 1000) : ""],
			["For", license.description],
			["Type", license.type],
			["Hosts", license.allowed_hosts.join(", ")],
			["Features", license.features.join(", ") === "*" ? "all" : license.features.join(", ") || (license.expire_at ? "none" : "")],
			["Key", license.key_id.slice(0, 16)],
			["Source", license.source],
			...Object.entries(license.usage).filter(([, share]) => share.limit >= 0).map(([name, share]) => ["Limit", share.used.toLocaleString("en") + " of " + share.limit.toLocaleString("en") + " " + name.replaceAll("_", " ")]),
			...(license.revocation_list ? [["Revocation list", license.revocation_list.version ? "version " + license.revocation_list.version + ", the next due " + stamp(license.revocation_list.next_update * 1000) : "none was ever had"]] : []),
			...(license.renewal ? [["Renewal", license.renewal.next ? "due " + stamp(license.renewal.next * 1000) : ""]] : []),
			["Deployment", license.instance.slice(0, 16)],
			["Sealed build", license.sealed ? "yes" : "no"],
		]));
		return parts;
	});
	const showSeats = () => {
		element("seats-card").hidden = !status.seats;
		draw("seats", status.seats, () => {
			if (!status.seats || !status.seats.taken.length) return [make("p", "No instance has a license in exchange for a login.", "quiet")];
			return [facts(status.seats.taken.map(one => [one.account + ", " + one.product, one.taken.toLocaleString("en") + (one.seats ? " of " + one.seats.toLocaleString("en") : "")]))];
		});
	};
	const showStorage = () => draw("storage", [status.node, status.version, status.storage, status.accounts, status.dpop], () => {
		const accounts = status.accounts, fault = storageFaults[accounts.storage] || (accounts.storage_away ? storageFaults.away : undefined);
		badge(element("storage-state"), fault ? (fault === storageFaults.away ? "storage out of reach" : accounts.storage) : "storage answers", fault ? fault[0] : "good");
		return [
			fault ? make("p", fault[1] + ". " + fault[2], "fault") : "",
			facts([
				["Node", status.node], ["Version", status.version], ["Storage", status.storage],
				["Accounts", accounts.loaded ? "read" : "not read yet"],
				["Confirmed", put(make("span"), "Storage confirmed them ", time(accounts.synced_at))],
				...status.dpop ? [["DPoP proofs", status.dpop.remembered.toLocaleString("en") + " of " + status.dpop.replay_memory.toLocaleString("en") + " remembered, nonce " + status.dpop.nonce]] : [],
			]),
			make("p", "Every node has a page of its own: what it counted is its own, accounts and license are those of all nodes.", "quiet"),
		].filter(Boolean);
	});
	const showChanges = () => draw("changes", status.changes, () => {
		if (!status.changes.length) return [make("p", "None since this server started.", "quiet")];
		const list = make("ul", undefined, "list changes");
		for (const one of status.changes.slice(0, 20)) {
			const row = put(make("li"), make("b", one.actor), " ", make("code", one.action), " " + one.target + " ", one.outcome === "done" ? "" : badge(make("span"), one.outcome, "warn"), " ");
			row.append(put(make("div", undefined, "quiet"), time(one.at)));
			list.append(row);
		}
		return [list];
	});

	// The whole

	const show = now => {
		status = { ...now, at: Date.now() };
		lost = "";
		set(element("node"), [status.node, status.version === "unknown" ? "" : status.version].filter(Boolean).join(" · "));
		set(element("when"), "as of " + stamp(status.at));
		for (const part of [showVerdict, showHour, showRefusals, showAccounts, showRevocations, showIssuers, showSeats, showLicense, showStorage, showChanges]) part();
		tick();
		const asking = !element("ask").hidden, first = element("board").hidden;
		element("ask").hidden = true;
		element("board").hidden = false;
		element("board").classList.remove("stale");
		element("pause").hidden = false;
		element("forget").hidden = !token;
		if (asking) (!first && returnTo?.isConnected && returnTo !== document.body ? returnTo : element("verdict-title")).focus();
	};

	// ask asks for a token. The board stays, for reading.
	let returnTo;
	const ask = (why, wanted) => {
		const first = element("board").hidden, active = document.activeElement;
		if (element("ask").hidden) returnTo = active;
		token = "";
		element("forget").hidden = true;
		element("board").classList.add("stale");
		element("why").textContent = why;
		element("why").hidden = !why;
		element("ask").hidden = false;
		if (status) set(element("when"), "not refreshed since " + stamp(status.at));
		// Somebody who is reading or typing elsewhere is told, and not interrupted.
		if (first || wanted || active === document.body || active === element("token")) element("token").focus();
	};
	const forget = () => {
		asked++;
		status = undefined;
		for (const id of Object.keys(drawn)) delete drawn[id];
		for (const id of ["verdict", "refusals", "accounts", "list", "revoked", "explained", "issuers", "seats", "license", "storage", "changes", "in-chart", "out-chart"]) element(id).replaceChildren();
		for (const id of ["node", "when", "said", "found", "revoked-found", "minute-told", "searched"]) element(id).textContent = "";
		element("explained-token").value = element("searched").value = element("revoked-searched").value = "";
		element("board").hidden = element("pause").hidden = true;
		document.title = "Gatehouse";
		ask("");
	};
	const refresh = async () => {
		const mine = ++asked;
		try {
			const { value } = await call("status");
			if (mine === asked) show(value);
		} catch (fault) {
			if (mine !== asked) return;
			if ([400, 401, 403].includes(fault.status)) return ask(fault.message);
			if (element("board").hidden) return ask("The status cannot be read: " + fault.message);
			lost = "The status cannot be read: " + fault.message;
			set(element("when"), "not refreshed since " + stamp(status.at));
			showVerdict();
		}
	};

	const submits = (id, work) => element(id).addEventListener("submit", event => { event.preventDefault(); work(); });
	submits("ask", () => {
		token = element("token").value.trim().replace(/^bearer\s+/i, "");
		element("token").value = "";
		refresh();
	});
	submits("search", search);
	submits("revoked-search", searchRevoked);
	submits("explain", explain);
	element("forget").addEventListener("click", forget);
	element("pause").addEventListener("click", () => {
		paused = !paused;
		element("pause").setAttribute("aria-pressed", String(paused));
		if (!paused) refresh();
	});
	for (const id of ["hour-issuer", "hour-reason", "minute"]) element(id).addEventListener("input", showHour);
	for (const id of ["in-chart", "out-chart"]) {
		element(id).addEventListener("click", event => {
			element("minute").value = Math.floor(60 * event.offsetX / element(id).clientWidth);
			showHour();
		});
	}
	setInterval(() => {
		if (!document.hidden && !element("board").hidden && element("ask").hidden && !paused) refresh();
	}, refreshEvery);
	// Elsewhere it would be refused, and counted as that.
	if (trusted) refresh();
	else ask("");
})();
