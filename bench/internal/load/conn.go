package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"time"
)

// connection is one keep-alive connection. It reads no more of an answer than
// its status and its length.
type connection struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
	closing bool // the server said so
	sent    int  // requests so far, of those gone round
}

// answerWithin bounds the wait for one answer: longer than anything measured.
const answerWithin = 20 * time.Second

func (c *connection) dial() error {
	conn, err := net.DialTimeout("tcp", c.address, answerWithin)
	if err != nil {
		return err
	}
	c.conn, c.reader, c.closing = conn, bufio.NewReaderSize(conn, 4<<10), false
	return nil
}

func (c *connection) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// do sends a request and gives the status of its answer. A connection that the
// server closes after an answer is opened anew.
func (c *connection) do(request []byte) (status int, err error) {
	if c.closing {
		c.close()
	}
	if c.conn == nil {
		if err := c.dial(); err != nil {
			return 0, err
		}
	}
	if status, err = c.exchange(request); err != nil {
		c.close()
	}
	return status, err
}

func (c *connection) exchange(request []byte) (int, error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, err
	}
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("found %q, expected a status line of HTTP/1", line)
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	length, err := c.readHeader()
	if err != nil {
		return 0, err
	}
	_, err = c.reader.Discard(length)
	return status, err
}

// readHeader reads the header and gives the length of the body behind it.
func (c *connection) readHeader() (length int, err error) {
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, nil
		}
		if value, found := cutName(line, "content-length:"); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("content-length: %w", err)
			}
		}
		if value, found := cutName(line, "connection:"); found && string(value) == "close" {
			c.closing = true
		}
		if value, found := cutName(line, "transfer-encoding:"); found {
			return 0, fmt.Errorf("transfer-encoding: found %q, expected an answer with a content-length", value)
		}
	}
}

func cutName(line []byte, name string) (value []byte, found bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
