package host_test

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/license/host"
)

func ExampleCompile() {
	hosts, refused := host.Compile([]string{"*.johnwick.org", "bücher.example", "10.0.0.5", "*bad.org"})
	for _, h := range []string{"API.JohnWick.org.:8443", "johnwick.org", "xn--bcher-kva.example", "[::ffff:10.0.0.5]:443", "010.0.0.5"} {
		fmt.Println(h, hosts.Match(h))
	}
	fmt.Println(refused)
	// Output:
	// API.JohnWick.org.:8443 true
	// johnwick.org false
	// xn--bcher-kva.example true
	// [::ffff:10.0.0.5]:443 true
	// 010.0.0.5 false
	// [host pattern "*bad.org": '*' may stand alone or as the whole first label, as in *.example.org]
}

func ExamplePattern_Signable() {
	for _, s := range []string{"*.johnwick.org", "*.github.io", "*.internal"} {
		p, err := host.Parse(s)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(p, p.Signable() == nil)
	}
	// Output:
	// *.johnwick.org true
	// *.github.io false
	// *.internal true
}
