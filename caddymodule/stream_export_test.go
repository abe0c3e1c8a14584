package caddymodule

// OpenStreams is how many streams are watched.
func OpenStreams() int {
	streams.mu.Lock()
	defer streams.mu.Unlock()
	return len(streams.open)
}
