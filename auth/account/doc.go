// Package account knows service accounts: machines that an operator registered
// by the subject of their tokens, gave groups, and can switch off.
//
// A [Registry] holds the accounts that are kept in a storage which several
// nodes may share. It answers a request from memory ([Registry.Lookup]: no lock,
// no allocation, no waiting), writes changes in the background of whoever asked
// for them, and sees the changes of other nodes within the refresh interval. It
// is meant to outlive a change of configuration: see [Registry.Attach]. A [View]
// lays the accounts that the configuration declares over it.
//
// # How the accounts are kept
//
// Under gatehouse/accounts/. The accounts are dealt to 256 shards by a hash of
// the subject. A record of a shard is never overwritten: its name holds the
// digest of its content, and a change writes a new record beside the old one.
// The revision record names the current record of every shard, so that writing
// it is what makes a change happen, the whole of it at once; a writer that dies
// before has changed nothing. A second copy of the revision record is written
// before a change is acknowledged, for storages that can leave half a record.
// Records that are no longer named are deleted a minute later.
//
// Other nodes load the revision record at every refresh, compare it by content,
// and load the shards that it names anew.
//
// # What is believed of a storage
//
// Little. "Not found" is not taken for "empty" where something was before, nor
// at all until a listing agrees. A lock may be held by two: the revision is
// compared before it is replaced and read back after, and a node whose
// acknowledged change was overwritten all the same (the revision record holds
// the ids of those before it) makes it again. No call is waited for longer than
// a few seconds, whatever it does about its context.
//
// # Damaged records
//
// A record whose checksum does not fit is reported by name and left as it is.
// The other shards serve; of this one a node keeps the last good content it
// had. Changes of accounts in that shard are refused with [ErrDamaged], because
// they would drop what the damaged record held, until the record is back or an
// operator decides with [Registry.Repair].
//
// # What never lives here
//
// HTTP, tokens, and who may change an account.
package account
