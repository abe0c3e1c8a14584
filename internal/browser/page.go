package browser

import (
	"context"
	"errors"
	"fmt"
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

// Open goes to an address.
func (p *Page) Open(ctx context.Context, address string) error {
	var opened struct {
		Error string `json:"errorText"`
	}
	if err := p.call(ctx, "Page.navigate", map[string]any{"url": address}, &opened); err != nil {
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

func (p *Page) call(ctx context.Context, method string, params, result any) error {
	return p.browser.call(ctx, p.session, method, params, result)
}
