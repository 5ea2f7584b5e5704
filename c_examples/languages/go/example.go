// The example for Go: two threads, a lock, an event with a timeout, timers.
package main

import (
	"errors"
	"fmt"
	"log"
	"time"

	"example/threading"
)

// must returns a value, or ends the program if there is an error.
func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	defer threading.Shutdown()
	lock := must(threading.NewLock())
	event := must(threading.NewEvent())

	if !must(event.Wait(50 * time.Millisecond)) {
		fmt.Println("the event is not set yet")
	}

	total := 0
	add := func() {
		for i := 0; i < 1000; i++ {
			lock.Lock()
			total++
			lock.Unlock()
		}
	}
	var threads [2]threading.Thread
	for i := range threads {
		threads[i] = must(threading.NewThread(add))
		check(threads[i].SetName(fmt.Sprintf("adder-%d", i+1)))
		check(threads[i].Start())
	}
	for _, thread := range threads {
		check(thread.Join())
	}
	fmt.Println(threads[0].Name(), "and", threads[1].Name(), "have added", total)

	var failure threading.Error
	if err := lock.Release(); errors.As(err, &failure) {
		fmt.Printf("release failed: %s, %v\n", failure.Name(), failure)
	}

	timer := must(threading.NewTimer(100*time.Millisecond, func() {
		fmt.Println(threading.CurrentThread().Name(), "rings")
		check(event.Set())
	}))
	check(timer.Thread().SetName("alarm"))
	check(timer.Start())
	if must(event.Wait(10 * time.Second)) {
		fmt.Println("the event is set")
	}
	check(timer.Thread().Join())
	check(timer.Free())

	// A function of the library as the timer's function, which runs no Go code.
	check(event.Clear())
	timer = must(threading.NewEventTimer(100*time.Millisecond, event))
	check(timer.Start())
	if must(event.Wait(10 * time.Second)) {
		fmt.Println("a timer without a callback has set the event")
	}
	check(timer.Thread().Join())
	check(timer.Free())

	for _, thread := range threads {
		check(thread.Free())
	}
	check(event.Free())
	check(lock.Free())
}
