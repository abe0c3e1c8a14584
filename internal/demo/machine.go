package demo

import "fmt"

// machineSteps are the life of a machine that nobody knows yet: registered over
// the API, let in, switched off.
func (s *Stage) machineSteps() []Step {
	const machine, admin = `-H "Authorization: Bearer $MACHINE"`, `-H "Authorization: Bearer $ADMIN"`
	const jsonType = `-H "Content-Type: application/json"`
	account := func(more string) string {
		return fmt.Sprintf(`-d '{"subject":"%s","name":"A new machine"%s}'`, clientNew, more)
	}
	return []Step{
		{
			"unregistered", "401: a good token, kept in $MACHINE, of a machine that nobody has registered",
			`MACHINE=$(token -u ` + clientNew + `:` + s.secret + `); ` + s.curl("-i", machine, "/hello"),
		},
		{
			"register", "201: an administrator, whose token is kept in $ADMIN, registers it by its subject and puts it into a group",
			`ADMIN=$(token -u ` + clientAdmin + `:` + s.secret + `); ` +
				s.curl("-i", admin, jsonType, account(`,"status":"active","groups":["operators"]`), "/api/serviceaccounts"),
		},
		{"userinfo", "200: the machine asks who it is", s.curl("-i", machine, "/api/userinfo")},
		{"registered", "200: it is let in, and the upstream sees the group that it was put into", s.curl("-i", machine, "/hello")},
		{"switch off", "200: the administrator switches it off", s.curl("-i", "-X PUT", admin, jsonType, account(`,"status":"inactive"`), "/api/serviceaccounts/"+clientNew)},
		{"switched off", "401: the very next request is refused, though the token is still good", s.curl("-i", machine, "/hello?again")},
	}
}
