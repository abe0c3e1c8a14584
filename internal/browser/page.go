package browser

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Page is one tab.
type Page struct {
	browser *Browser
	session string
}

// NewPage opens an empty tab.
func (b *Browser) NewPage(ctx context.Context) (*Page, error) {
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	err := b.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	return &Page{b, attached.Session}, err
}

// Open goes to an address, as if it had been typed in.
func (p *Page) Open(ctx context.Context, address string) error { return p.OpenFrom(ctx, address, "") }

// OpenFrom goes to an address as if by a link on the page at referrer.
func (p *Page) OpenFrom(ctx context.Context, address, referrer string) error {
	var opened struct {
		Error string `json:"errorText"`
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": address, "referrer": referrer}, &opened); err != nil {
		return err
	}
	if opened.Error != "" {
		return errors.New("opening the address: " + opened.Error)
	}
	return nil
}

// Eval runs JavaScript in the page and reads its value.
func (p *Page) Eval(ctx context.Context, script string, into any) error {
	var got struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text string `json:"text"`
		} `json:"exceptionDetails"`
	}
	got.Result.Value = into
	err := p.call(ctx, "Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &got)
	if err == nil && got.Exception != nil {
		err = errors.New("running a script in the page: " + got.Exception.Text)
	}
	return err
}

// WaitFor waits until a script is true, over page loads in between.
func (p *Page) WaitFor(ctx context.Context, script string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var holds bool
		err := p.Eval(ctx, "Boolean("+script+")", &holds)
		if err == nil && holds {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w (last: %v)", script, context.Cause(ctx), err)
		}
	}
}

// Type sends text to the input that a selector finds, as a keyboard would.
func (p *Page) Type(ctx context.Context, selector, text string) error {
	if err := p.Click(ctx, selector); err != nil {
		return err
	}
	return p.call(ctx, "Input.insertText", map[string]any{"text": text}, nil)
}

// Click presses the mouse in the middle of what a selector finds.
func (p *Page) Click(ctx context.Context, selector string) error {
	var at []float64
	script := `(() => { const e = document.querySelector(` + strconv.Quote(selector) + `); if (!e) return [];
		e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()`
	if err := p.Eval(ctx, script, &at); err != nil {
		return err
	}
	if len(at) != 2 {
		return fmt.Errorf("the page has no %s", selector)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		err := p.call(ctx, "Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// Screenshot gives the page as it looks, a PNG.
func (p *Page) Screenshot(ctx context.Context) ([]byte, error) {
	var shot struct {
		Data []byte `json:"data"`
	}
	err := p.call(ctx, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	return shot.Data, err
}

// Screen is what a page is shown on.
type Screen struct {
	Width, Height int  // in CSS pixels
	Phone         bool // lays pages out as phones do: by their own viewport
	Dark          bool // prefers-color-scheme: dark
}

// Show changes the screen.
func (p *Page) Show(ctx context.Context, s Screen) error {
	metrics := map[string]any{"width": s.Width, "height": s.Height, "deviceScaleFactor": 1, "mobile": s.Phone}
	if err := p.call(ctx, "Emulation.setDeviceMetricsOverride", metrics, nil); err != nil {
		return err
	}
	scheme := map[string]string{"name": "prefers-color-scheme", "value": "light"}
	if s.Dark {
		scheme["value"] = "dark"
	}
	return p.call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": []any{scheme}}, nil)
}

// Watch begins to note the requests that the page makes.
func (p *Page) Watch(ctx context.Context) error { return p.call(ctx, "Network.enable", nil, nil) }

// Requests are the addresses that the page has asked for since Watch, in order;
// those that its own policy forbade are among them only if they were sent.
func (p *Page) Requests() []string {
	p.browser.mu.Lock()
	defer p.browser.mu.Unlock()
	return slices.Clone(p.browser.requested[p.session])
}

// Cookies are the names of those that the browser would send to the page's
// address, its scripts' and its server's.
func (p *Page) Cookies(ctx context.Context) ([]string, error) {
	var got struct {
		Cookies []struct {
			Name string `json:"name"`
		} `json:"cookies"`
	}
	err := p.call(ctx, "Network.getCookies", nil, &got)
	var names []string
	for _, cookie := range got.Cookies {
		names = append(names, cookie.Name)
	}
	return names, err
}

func (p *Page) call(ctx context.Context, method string, params, result any) error {
	return p.browser.call(ctx, p.session, method, params, result)
}
