// Package browser is Chromium as the tests use it: one page, driven by chromedp.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// Page is the one tab of a browser. Its methods take the context of [Start].
type Page struct {
	mu        sync.Mutex
	requested []string
}

// Start runs Chromium, which must be on the PATH, with a fresh profile in that
// folder. The context that it gives is the page's; cancel ends the browser.
func Start(ctx context.Context, profile string) (p *Page, tab context.Context, cancel context.CancelFunc, err error) {
	p = new(Page)
	tab, end := chromedp.NewContext(ctx, chromedp.WithListener(p.note), chromedp.WithAllocatorOptions(
		chromedp.NoSandbox, // root and containers cannot have it
		chromedp.WindowSize(1000, 700), chromedp.UserDataDir(profile), chromedp.Flag("disable-quic", true)))
	if err := chromedp.Do(tab); err != nil {
		end()
		return nil, nil, nil, fmt.Errorf("starting Chromium (Debian: apt-get install chromium): %w", err)
	}
	return p, tab, func() { _ = chromedp.Cancel(tab); end() }, nil
}

// Open goes to an address, as if it had been typed in.
func (p *Page) Open(ctx context.Context, address string) error { return p.OpenFrom(ctx, address, "") }

// OpenFrom goes to an address as if by a link on the page at referrer.
func (p *Page) OpenFrom(ctx context.Context, address, referrer string) error {
	opened, err := chromedp.Call(ctx, page.Navigate, page.NavigateParams{URL: address, Referrer: referrer})
	if err == nil && opened.ErrorText != "" {
		err = errors.New("opening the address: " + opened.ErrorText)
	}
	return err
}

// Eval runs JavaScript in the page and reads its value.
func (p *Page) Eval(ctx context.Context, script string, into any) error {
	value, err := chromedp.Run(ctx, chromedp.Evaluate[json.RawMessage](script, chromedp.EvalAsValue, chromedp.EvalAwaitPromise))
	if err != nil {
		return fmt.Errorf("running a script in the page: %w", err)
	}
	return json.Unmarshal(value, into)
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
	return p.Insert(ctx, text)
}

// Insert sends text to what has the focus, as if it were pasted.
func (p *Page) Insert(ctx context.Context, text string) error {
	_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
	return err
}

// keys are those that [Page.Press] knows, with their codes on Windows.
var keys = map[string]int64{"Tab": 9, "Enter": 13, "Escape": 27}

// Press presses a key and lets it go: Tab, Shift+Tab, Enter or Escape.
func (p *Page) Press(ctx context.Context, key string) error {
	name, shift := strings.CutPrefix(key, "Shift+")
	press := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: name, Code: name, WindowsVirtualKeyCode: keys[name]}
	if shift {
		press.Modifiers = 8
	}
	if name == "Enter" {
		press.Text = "\r"
	}
	if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, press); err != nil {
		return err
	}
	press.Type, press.Text = input.DispatchKeyEventTypeKeyUp, ""
	_, err := chromedp.Call(ctx, input.DispatchKeyEvent, press)
	return err
}

// Click presses the mouse on what a CSS selector finds.
func (p *Page) Click(ctx context.Context, selector string) error {
	return chromedp.Do(ctx, chromedp.Click(chromedp.CSS(selector)))
}

// Screenshot gives the page as it looks, a PNG.
func (p *Page) Screenshot(ctx context.Context) ([]byte, error) {
	return chromedp.Run(ctx, chromedp.CaptureScreenshot())
}

// Screen is what a page is shown on.
type Screen struct {
	Width, Height int64 // in CSS pixels
	Phone         bool  // lays pages out as phones do: by their own viewport
	Dark          bool  // prefers-color-scheme: dark
}

// Show changes the screen.
func (p *Page) Show(ctx context.Context, s Screen) error {
	scheme := emulation.MediaFeature{Name: "prefers-color-scheme", Value: "light"}
	if s.Dark {
		scheme.Value = "dark"
	}
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: s.Width, Height: s.Height, DeviceScaleFactor: 1, Mobile: s.Phone,
	})
	if err != nil {
		return err
	}
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{&scheme}})
	return err
}

// note keeps the requests that the page makes.
func (p *Page) note(event any) {
	if sent, ok := event.(*network.EventRequestWillBeSent); ok {
		p.mu.Lock()
		p.requested = append(p.requested, sent.Request.URL)
		p.mu.Unlock()
	}
}

// Requests are the addresses that the page has asked for, in order; those that its
// own policy forbade are among them only if they were sent.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requested)
}

// Cookies are the names of those that the browser would send to the page's
// address, its scripts' and its server's.
func (p *Page) Cookies(ctx context.Context) (names []string, err error) {
	got, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{})
	for _, cookie := range got.Cookies {
		names = append(names, cookie.Name)
	}
	return names, err
}

// Forget removes all cookies, as if nobody had been logged in anywhere.
func (p *Page) Forget(ctx context.Context) error {
	_, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{})
	return err
}
