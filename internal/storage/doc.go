// Package storage stands between Gatehouse and the storage of the configuration
// that runs, which may be slow, away, or wrong. It knows nothing of Caddy; every
// certmagic.Storage is a [Storage].
//
//   - A [Client] calls one storage: each call has a time limit, and one that does
//     not come back is left behind.
//   - [Leases] let an owner that outlives configurations, such as a key set in a
//     pool, use the storage of the newest configuration that runs.
//   - A [Mailbox] hands an owner's events to an observer, in order, and without
//     keeping the owner waiting.
//
// The owner decides what to write, what to do after a failure, and when to try
// again.
//
// # What is assumed of a storage
//
// As little as possible. What follows holds for all owners; each line has a test.
//
//   - A call may take 5 seconds, and one more for an answer that is a little late,
//     whatever it does about its context. Then it is left behind. Its error is
//     [ErrNoAnswer], also if it heeded the limit by itself.
//     If it was the caller's context that ended, the error is the context's, as
//     that says nothing about the storage.
//   - Sixteen calls are under way at most, in each client. More wait for their turn,
//     within their own time. Only when all sixteen were left behind are further ones
//     refused at once: [ErrStuck]. A single one that never returns does not end the
//     use of a storage.
//   - That bound is the client's own: the storage of a new configuration is not held
//     up by calls that the one before never answered. Calls of Lock are counted
//     apart from the others, so that a Lock that never returns does not end reading.
//   - A file that goes away while its folder is listed makes file_system give up with
//     "not found". [Client.List] then lists again, and never takes that for an empty
//     folder; an error of List is never fs.ErrNotExist.
//   - A folder that is not there is an empty one.
//   - What is listed beside the keys right in the folder (the folder itself, folders
//     in it, its siblings, everything) is left out.
//   - "Not found" is no proof: some storages say so of everything while they are
//     down. [Client.Find] makes sure by a listing.
//   - A lock is asked for in short calls, anew each time: see [Client.Lock]. A lock
//     that is granted too late is given back; and giving back is tried for nine seconds,
//     because some storages keep a lock fresh until then.
//   - Writes that are under way may end, for two seconds, before a configuration
//     takes its storage away; after that no call begins any more, and those under way
//     have a second to return: see [Lease.Detach].
//   - Errors that will not go away by themselves, such as a full disk or a lack of
//     permission, are distinguished: see [IsLasting].
package storage
