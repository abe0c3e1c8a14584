package command

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// maxPage is how many entries of a list are requested at once: the API's limit.
const maxPage = 1000

// pages passes each page of a list to each, as the server sent it and never empty; most
// is 0 for all. next puts where the next page begins into the query, by the last entry,
// and reports whether that is further on.
func (s *server) pages(ctx context.Context, path string, query url.Values, most int, each func([]json.RawMessage) error, next func(last json.RawMessage) (further bool, err error)) error {
	for done := 0; ; {
		limit := maxPage
		if most > 0 {
			limit = min(limit, most-done)
		}
		query.Set("limit", strconv.Itoa(limit))
		var page []json.RawMessage
		if _, err := s.get(ctx, request{method: http.MethodGet, path: path, query: query}, &page); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if err := each(page); err != nil {
			return err
		}
		done += len(page)
		if len(page) != limit || done == most {
			return nil
		}
		further, err := next(page[len(page)-1])
		if err != nil {
			return err
		}
		if !further {
			return errors.New("the list of " + s.name + " does not go on from page to page")
		}
	}
}

// queryOf is a query with the members that are not empty.
func queryOf(members map[string]string) url.Values {
	query := url.Values{}
	for name, value := range members {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// remove deletes what the request names, and prints so.
func (s *server) remove(ctx context.Context, cmd *cobra.Command, a request, member, name string, asJSON bool) error {
	if _, err := s.fetch(ctx, a); err != nil {
		return err
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), map[string]string{member: name, "result": "deleted"})
	}
	t := table{}
	t.add("Deleted", name)
	return t.print(cmd.OutOrStdout())
}
