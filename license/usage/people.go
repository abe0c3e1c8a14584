// Package usage counts what the limits of a license are about: the people who used a
// deployment within 30 days, over all nodes that share its storage.
//
// Nothing of a person is kept but a keyed hash of issuer and subject, and the day on
// which that person was last seen. The key is the deployment's own, so nobody else can
// tell from the records who was there.
//
// Records in storage are a set that grows: nodes add what they have seen, and a day
// only moves on. So no lock is needed, a write that is lost is made again, and an
// emptied storage is filled again by the nodes that run.
//
// What a limit means for a request, HTTP and logs have no place here.
package usage

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Days is for how many days a person counts after they were last seen.
	Days = 30

	// MaxPeople bounds the people that are counted; who comes then is let in and not
	// counted.
	MaxPeople = 1 << 20

	shards   = 16
	hashSize = 16
	day      = 24 * time.Hour
)

// person is the keyed hash of an issuer and a subject, cut to 128 bits.
type person [hashSize]byte

// shard holds the people whose hash begins alike.
type shard struct {
	mu   sync.Mutex
	seen map[person]uint32 // the day on which they were last seen, since 1970
	owes bool              // storage may lack something
}

// People counts people. Methods are safe for concurrent use.
type People struct {
	secret atomic.Pointer[[]byte]
	shards [shards]shard
	count  atomic.Int64
	read   atomic.Bool // storage was read, or it could not be
	first  chan struct{}
	now    func() time.Time
	bell   chan struct{} // somebody new came

	// guards what New people are let in by, so that a limit is kept by this node.
	entering sync.Mutex
}

func newPeople(now func() time.Time) *People {
	p := &People{now: now, first: make(chan struct{}), bell: make(chan struct{}, 1)}
	for i := range p.shards {
		p.shards[i].seen = make(map[person]uint32)
	}
	return p
}

// today is the day since 1970, in UTC.
func (p *People) today() uint32 { return uint32(p.now().Unix() / int64(day/time.Second)) } //nolint:gosec // until 11 million years from now

// Count is the number of people who were seen within 30 days.
func (p *People) Count() int { return int(p.count.Load()) }

// Outcome says what became of a person.
type Outcome uint8

// The outcomes.
const (
	// Unknown: the people cannot be counted yet, or there are too many.
	Unknown Outcome = iota
	// Counted: they count, and did so before, or are within the limit.
	Counted
	// Over: they count, and are over the limit.
	Over
	// Refused: they are over the limit, and do not count.
	Refused
)

// See notes that a person is here. If they are new and that makes more people than
// most, they are refused where deny is set. Who counted within 30 days is never
// refused.
func (p *People) See(issuer, subject string, most int64, deny bool) Outcome {
	secret := p.secret.Load()
	if secret == nil {
		return Unknown
	}
	who, today := hash(*secret, issuer, subject), p.today()
	s := p.shard(who)
	if s.meet(who, today) {
		return Counted
	}
	p.entering.Lock()
	defer p.entering.Unlock()
	count := p.count.Load()
	switch {
	case count >= MaxPeople:
		return Unknown
	case deny && count >= most:
		return Refused
	}
	if s.add(who, today) {
		count = p.count.Add(1)
	}
	select {
	case p.bell <- struct{}{}:
	default:
	}
	if count > most {
		return Over
	}
	return Counted
}

// meet moves on the day of somebody who counts, and reports whether they do.
func (s *shard) meet(who person, today uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, known := s.seen[who]
	if !known || last+Days < today {
		return false
	}
	if last < today {
		s.seen[who], s.owes = today, true
	}
	return true
}

// add takes somebody in, and reports whether they are new.
func (s *shard) add(who person, today uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.seen[who]
	s.seen[who], s.owes = today, true
	return !known
}

// hash is HMAC-SHA256 (RFC 2104), cut to its first half. A zero byte, which no name of
// an issuer holds, ends the first name.
func hash(secret []byte, issuer, subject string) person {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(issuer))
	mac.Write([]byte{0})
	mac.Write([]byte(subject))
	return person(mac.Sum(nil)[:hashSize])
}

func (p *People) shard(who person) *shard { return &p.shards[who[0]>>4] }

// Ready reports whether storage was looked into for those who were seen before; first
// is closed then.
func (p *People) Ready() (ready bool, first <-chan struct{}) { return p.read.Load(), p.first }
