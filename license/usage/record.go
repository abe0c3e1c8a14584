package usage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A record holds the people of one shard: a line that says what it is, and then for
// each person the hash and the day, big-endian, sorted.
const (
	recordHead  = "gatehouse-people/1\n"
	entrySize   = hashSize + 4
	maxPerShard = 2 * MaxPeople / shards
)

var errDamaged = errors.New("damaged: want people and days")

func encode(seen map[person]uint32) []byte {
	people := slices.SortedFunc(maps.Keys(seen), func(a, b person) int { return slices.Compare(a[:], b[:]) })
	data := make([]byte, 0, len(recordHead)+len(people)*entrySize)
	data = append(data, recordHead...)
	for _, who := range people {
		data = append(data, who[:]...)
		data = binary.BigEndian.AppendUint32(data, seen[who])
	}
	return data
}

// decode reads a record of the shard of that number.
func decode(data []byte, number int) (map[person]uint32, error) {
	entries := len(data) - len(recordHead)
	if entries < 0 || string(data[:len(recordHead)]) != recordHead || entries%entrySize != 0 || entries/entrySize > maxPerShard {
		return nil, errDamaged
	}
	seen := make(map[person]uint32, entries/entrySize)
	for rest := data[len(recordHead):]; len(rest) > 0; rest = rest[entrySize:] {
		who := person(rest[:hashSize])
		if int(who[0]>>4) != number {
			return nil, errDamaged
		}
		seen[who] = binary.BigEndian.Uint32(rest[hashSize:entrySize])
	}
	return seen, nil
}

// keyOf is the record of a shard.
func keyOf(number int) string { return fmt.Sprintf("%s/people-%x.bin", folder, number) }
