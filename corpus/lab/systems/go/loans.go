// Command loans fetches the library's loans page by page and writes one file per branch with the fees due.
package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"
)

type Loan struct {
	ID       int64     `json:"loan_id"`
	Branch   string    `json:"branch"`
	Member   *Member   `json:"member"`
	LentAt   time.Time `json:"lent_at"`
	DaysLate int       `json:"days_late"`
	Rate     float64   `json:"rate"`
}

type Member struct {
	Card string `json:"card"`
	Kind string `json:"kind"`
}

var client = &http.Client{Timeout: 1500 * time.Millisecond}

func fetch(page int) ([]Loan, error) {
	request, err := http.NewRequest("GET", fmt.Sprintf("%s/v2/loans?page=%d", os.Getenv("LOANS_API"), page), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("LOANS_TOKEN"))
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return nil, fmt.Errorf("unexpected status %s: %s", response.Status, text)
	}
	decoder := json.NewDecoder(response.Body)
	decoder.DisallowUnknownFields()
	var loans []Loan
	if err := decoder.Decode(&loans); err != nil {
		return nil, fmt.Errorf("decode %s: %w", response.Header.Get("Content-Type"), err)
	}
	return loans, nil
}

func fetchWithRetry(page int) (loans []Loan, err error) {
	for attempt := 1; attempt <= 3; attempt++ {
		if loans, err = fetch(page); err == nil {
			return loans, nil
		}
		log.Printf("page %d: attempt %d of 3: %v", page, attempt, err)
		time.Sleep(20 * time.Millisecond)
	}
	return nil, fmt.Errorf("fetch page %d: %w", page, err)
}

func readBranches(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("branches: %w", err)
	}
	defer file.Close()
	reader := csv.NewReader(file)
	reader.FieldsPerRecord = 2
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("branches: %w", err)
	}
	branches := map[string]string{}
	for _, row := range rows[1:] {
		branches[row[0]] = row[1]
	}
	return branches, nil
}

func check(loan Loan, branches map[string]string, seen map[int64]bool) error {
	if _, known := branches[loan.Branch]; !known {
		return fmt.Errorf("loan %d: branch %q is not in branches.csv", loan.ID, loan.Branch)
	}
	if seen[loan.ID] {
		return fmt.Errorf("loan %d came a second time", loan.ID)
	}
	if loan.DaysLate < 0 || loan.DaysLate > 3650 {
		return fmt.Errorf("loan %d: days_late %d out of range [0, 3650]", loan.ID, loan.DaysLate)
	}
	seen[loan.ID] = true
	return nil
}

func writeFees(fees map[string][]string, branches map[string]string) error {
	codes := make([]string, 0, len(fees))
	for code := range fees {
		codes = append(codes, code)
	}
	sort.Strings(codes)
	for _, code := range codes {
		name := filepath.Join("out", branches[code]+".csv")
		file, err := os.Create(name)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		defer file.Close()
		for _, line := range fees[code] {
			if _, err := fmt.Fprintln(file, line); err != nil {
				return fmt.Errorf("export %s: %w", branches[code], err)
			}
		}
	}
	return nil
}

func run() error {
	branches, err := readBranches("branches.csv")
	if err != nil {
		return err
	}
	log.Printf("%d branches", len(branches))
	expected, err := strconv.Atoi(os.Getenv("LOANS_MINIMUM"))
	if err != nil {
		return fmt.Errorf("LOANS_MINIMUM: %w", err)
	}
	fees, seen := map[string][]string{}, map[int64]bool{}
	for page := 1; ; page++ {
		loans, err := fetchWithRetry(page)
		if err != nil {
			return err
		}
		log.Printf("page %d: %d loans", page, len(loans))
		if len(loans) == 0 {
			break
		}
		for _, loan := range loans {
			if err := check(loan, branches, seen); err != nil {
				return fmt.Errorf("page %d: %w", page, err)
			}
			fee := float64(loan.DaysLate) * loan.Rate
			fees[loan.Branch] = append(fees[loan.Branch], fmt.Sprintf("%d,%s,%s,%.2f", loan.ID, loan.Member.Card, loan.LentAt.Format("2006-01-02"), fee))
		}
	}
	if len(seen) < expected {
		return errors.New(fmt.Sprintf("only %d loans, at least %d are usual on a working day", len(seen), expected))
	}
	return writeFees(fees, branches)
}

func main() {
	lock, err := os.OpenFile("loans.lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatalf("lock: %v", err)
	}
	lock.Close()
	defer os.Remove("loans.lock")
	if err := run(); err != nil {
		os.Remove("loans.lock")
		log.Fatalf("loans: %v", err)
	}
	log.Print("done")
}
