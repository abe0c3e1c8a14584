package sso

import (
	"context"
	"testing"
)

// BenchmarkAnswer is a whole answer: HMAC, checks, endpoint, address. The engine
// is asked each time, the provider only once.
func BenchmarkAnswer(b *testing.B) {
	for name, edit := range map[string]func(*Config){
		"plain": func(*Config) {}, "response signed": signing, "rate limited": func(cfg *Config) { cfg.RateLimit = 1 },
	} {
		b.Run(name, func(b *testing.B) {
			provider, engine := stopped(b, newClock())
			start(b, provider)
			s := service(b, discovering(engine), edit)
			r := signed(query("response_type", "code"))
			wantURL(b, s, r)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if answer := s.Answer(context.Background(), r); answer.Status != 200 && name != "rate limited" {
						b.Error(answer.Result())
						return
					}
				}
			})
			if n := provider.DiscoveryFetches(); n != 1 {
				b.Errorf("%d fetches of metadata", n)
			}
		})
	}
}

// BenchmarkRefused is what a stranger can have done: an unknown key, a wrong
// signature.
func BenchmarkRefused(b *testing.B) {
	s := service(b)
	for name, r := range map[string]Request{
		"unknown key": saying(authorization("nobody", "x")), "wrong signature": saying(authorization(testKey, "x")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Answer(context.Background(), r)
			}
		})
	}
}
