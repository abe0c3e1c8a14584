package inforce

// Source says where the license comes from. Sources are equal (==) if they are
// the same place or text. The zero Source is storage.
type Source struct {
	kind  kind
	value string
}

type kind uint8

const (
	installed kind = iota
	file
	inline
)

// Installed is the license that [Keeper.Install] put into storage: the zero
// Source.
func Installed() Source { return Source{} }

// File is a file of at most [license.MaxSize] bytes. A change of its content,
// its replacement and a change of a symbolic link on its path are seen within
// five seconds.
func File(path string) Source { return Source{file, path} }

// Inline is the license's own text; empty text is no license.
func Inline(text string) Source { return Source{inline, text} }

// String names the source for logs: the file's path, but never a license's text.
func (s Source) String() string {
	switch s.kind {
	case file:
		return "file " + s.value
	case inline:
		return "configuration"
	}
	return "storage " + installedKey
}

// Configured reports whether the configuration holds the license or its path, so
// that none can be installed.
func (s Source) Configured() bool { return s.kind != installed }

// absent says for people why there is no license. Clients may read it, so it
// names no path.
func (s Source) absent() string {
	switch s.kind {
	case file:
		return "the configured file does not exist"
	case inline:
		return "the configured text is empty"
	}
	return "none is installed"
}
