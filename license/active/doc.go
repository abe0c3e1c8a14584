// Package active keeps the license that is in force in a deployment.
//
// A [Keeper] finds the license where its [Source] says: in a file that it
// watches, in text of the configuration, or in storage, where [Keeper.Install]
// puts it for all nodes. [Keeper.Validity] answers requests from memory: no lock,
// no allocation, no waiting. A keeper is meant to outlive a change of
// configuration: see [Keeper.Attach].
//
// # What takes over, and what stays
//
// A license that is genuine (see [license.Validity.Genuine]) takes over at once.
// One that is not, and a file that vanishes, are reported, and the license in
// force stays until its own end. A genuine license whose time has not come, or is
// over, waits behind one that lets pass, and takes over in the very moment that
// one ends or its own time comes. Bad news counts only when a second look
// confirms it: half-written files are read now and then.
//
// Without a license the state is missing or invalid. That is a state and no
// error: nothing here keeps a server from starting.
//
// # Before the first look
//
// File and text are read in [New]. Storage is first read after the first Attach;
// until then the license is missing, which may mean to refuse. As nothing is
// known yet, a caller that would refuse should wait for the first look
// ([Keeper.Looked], [Keeper.Await]), for a bounded time; it ends, found or not,
// once storage has answered or failed to. Letting pass instead would make a
// storage out of reach as good as a license.
//
// # Events
//
// The state is computed from the clock whenever it is asked for. Each change of it
// is one [Event], either soon after a request met it, or when the keeper's own
// timer does.
//
// # Storage
//
// Little is assumed of it. "Not found" is never taken for "deleted" where a license
// is known, nor for "none" until a listing agrees. A write is read back. No call is
// waited for longer than a few seconds, whatever it does about its context. Records
// do not need locks where each has a name of its own; the installed license is
// written under one.
//
// # What a license depends on besides
//
// [Facts] are the list of revoked licenses and this deployment's [Instance], an Ed25519
// key in storage. Neither is a reason to refuse while it cannot be had, except that a
// license which is bound to an instance passes on that one only.
//
// With [Config.Renew], the vendor is asked for the next license well before the end. What
// it sends takes over only if it is genuine and takes nothing away.
//
// # The clock
//
// The highest time ever seen is kept in storage, only to report a clock that is
// more than a day behind it. If a clock was once far ahead, delete
// gatehouse/license/clock.json and restart the node that it belongs to.
//
// # The record
//
// A [Record] keeps what was signed, one value in storage a signature.
//
// What never lives here: HTTP, logs, metrics, the list of sites to compare a
// license with, and private keys.
package active
