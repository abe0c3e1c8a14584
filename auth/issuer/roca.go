package issuer

import "math/big"

// rocaPrimes are the small primes whose residues give away a modulus made by
// the faulty generator of CVE-2017-15361 (Nemec et al., "The Return of
// Coppersmith's Attack", 2017): its primes are powers of 65537 modulo each.
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73,
	79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157,
	163, 167,
}

// rocaResidues holds, for each of those primes, the residues that a power of
// 65537 can have.
var rocaResidues = func() []map[int64]bool {
	all := make([]map[int64]bool, len(rocaPrimes))
	for i, p := range rocaPrimes {
		all[i] = map[int64]bool{}
		for r := int64(1); !all[i][r]; r = r * 65537 % p {
			all[i][r] = true
		}
	}
	return all
}()

// hasROCA reports whether the modulus bears the fingerprint; one made otherwise
// does with a chance of about 2^-28.
func hasROCA(n *big.Int) bool {
	var p, r big.Int
	for i, prime := range rocaPrimes {
		if !rocaResidues[i][r.Mod(n, p.SetInt64(prime)).Int64()] {
			return false
		}
	}
	return true
}
