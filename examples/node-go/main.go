// A small node for outputd: pings targets with the system's ping and posts the results.
//
//	go run . -node graz-1 192.0.2.1 198.51.100.7
//
// It needs the standard library only. A POST that fails is repeated with the same Idempotency-Key,
// so outputd stores it once, however often it arrives.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	mathrand "math/rand"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

const (
	packets = 4
	tries   = 8
)

var (
	counts = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`)
	times  = regexp.MustCompile(`= ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms`)
)

// Result is one element of the array that POST /results takes. Round-trip times are in nanoseconds.
type Result struct {
	IP        string    `json:"ip"`
	Timestamp time.Time `json:"timestamp"`
	Sent      int       `json:"sent"`
	Received  int       `json:"received"`
	MinRTT    int64     `json:"min_rtt,omitempty"`
	AvgRTT    int64     `json:"avg_rtt,omitempty"`
	MaxRTT    int64     `json:"max_rtt,omitempty"`
	StdDevRTT int64     `json:"stddev_rtt,omitempty"`
	Error     string    `json:"error,omitempty"`
}

func main() {
	url := flag.String("url", "http://localhost:8081/results", "where results are posted")
	node := flag.String("node", "", "name of this node")
	token := flag.String("token", os.Getenv("OUTPUTD_TOKEN"), "token of this node")
	flag.Parse()
	mathrand.Seed(time.Now().UnixNano())
	var results []Result
	for _, ip := range flag.Args() {
		results = append(results, measure(ip))
	}
	answer, err := post(*url, *node, *token, results)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}

func measure(ip string) Result {
	result := Result{IP: ip, Timestamp: time.Now().UTC(), Sent: packets}
	command := exec.Command("ping", "-n", "-q", "-c", strconv.Itoa(packets), "-i", "0.3", "-W", "2", ip)
	command.Env = append(os.Environ(), "LC_ALL=C")
	printed, _ := command.Output() // ping ends with 1 when nothing came back: what it printed counts
	counted := counts.FindSubmatch(printed)
	if counted == nil {
		result.Error = "ping failed"
		return result
	}
	result.Sent, _ = strconv.Atoi(string(counted[1]))
	result.Received, _ = strconv.Atoi(string(counted[2]))
	timed := times.FindSubmatch(printed)
	if timed == nil {
		result.Error = "no reply"
		return result
	}
	result.MinRTT, result.AvgRTT = nanoseconds(timed[1]), nanoseconds(timed[2])
	result.MaxRTT, result.StdDevRTT = nanoseconds(timed[3]), nanoseconds(timed[4])
	return result
}

func nanoseconds(milliseconds []byte) int64 {
	number, _ := strconv.ParseFloat(string(milliseconds), 64)
	return int64(number * 1e6)
}

// post repeats with one key until the answer is final: 200, or an error that a retry cannot help.
func post(url, node, token string, results []Result) (string, error) {
	body, err := json.Marshal(results)
	if err != nil {
		return "", err
	}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return "", err
	}
	client := &http.Client{Timeout: time.Minute}
	for attempt := 0; attempt < tries; attempt++ {
		if attempt > 0 {
			log.Print(err)
		}
		request, wrong := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
		if wrong != nil {
			return "", wrong
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", fmt.Sprintf("%x", key))
		if node != "" {
			request.Header.Set("X-Ping-Node", node)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		wait := time.Duration((0.5 + mathrand.Float64()/2) * float64(time.Second<<attempt))
		var response *http.Response
		if response, err = client.Do(request); err == nil {
			answer, _ := io.ReadAll(response.Body)
			response.Body.Close()
			switch response.StatusCode {
			case http.StatusOK:
				return string(answer), nil
			case 408, 429, 500, 502, 503, 504:
				err = fmt.Errorf("%s: %s", response.Status, answer)
				if seconds, wrong := strconv.Atoi(response.Header.Get("Retry-After")); wrong == nil {
					wait = time.Duration(seconds) * time.Second
				}
			default:
				return "", fmt.Errorf("%s: %s", response.Status, answer)
			}
		}
		if attempt+1 < tries {
			time.Sleep(wait)
		}
	}
	return "", fmt.Errorf("given up after %d tries: %w", tries, err)
}
