package license

// The functions below each make the reading of one member, for the tables in
// decode.go. Where an empty value would mean the same as an absent member, it is
// refused: a license has one form only.

func text(r *reader, to *string) func(string) error {
	return func(path string) (err error) {
		*to, err = r.text(path)
		return err
	}
}

func optionalText(r *reader, to *string) func(string) error {
	return func(path string) (err error) {
		*to, err = r.text(path)
		if err == nil && *to == "" {
			return badForm(path, "is empty; want a value, or leave the member out")
		}
		return err
	}
}

func integer(r *reader, to *int64) func(string) error {
	return func(path string) (err error) {
		*to, err = r.integer(path)
		return err
	}
}

func optionalInteger(r *reader, to **int64) func(string) error {
	return func(path string) error {
		n, err := r.integer(path)
		*to = &n
		return err
	}
}

// version reads v. The number 1 is refused although version 1 exists: its
// signature does not cover v, so the license would have two forms.
func version(r *reader, to *int64) func(string) error {
	return func(path string) (err error) {
		*to, err = r.integer(path)
		if err == nil && *to != 2 {
			return badForm(path, "is %d; want 2, or no v at all for version 1", *to)
		}
		return err
	}
}

func texts(r *reader, to *[]string, limit int) func(string) error {
	return func(path string) (err error) {
		*to, err = r.texts(path, limit)
		return err
	}
}

func integers(r *reader, to *map[string]int64, limit int) func(string) error {
	return func(path string) (err error) {
		*to, err = r.integers(path, limit)
		return err
	}
}
