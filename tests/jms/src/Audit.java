import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.TransactionRolledBackException;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQQueue;

/** A client that was not answered asks again; the broker does once what it was asked twice. */
final class Audit extends PersistentTest {
    private Proxy proxy;

    @Test
    void a_send_whose_answer_was_lost_is_there_once() throws Exception {
        Send send = sender(queue());
        loseAnswer(() -> send.text("one"), () -> isIn(queue(), "one"), () -> { });
        send.text("two");
        equal(List.of("one", "two"), drain(queue()));
    }

    @Test
    void a_send_whose_answer_was_lost_in_a_crash_is_there_once() throws Exception {
        Send send = sender(queue());
        send.text("zero");
        loseAnswer(() -> send.text("one"), () -> isIn(queue(), "one"), this::crash);
        send.text("two");
        equal(List.of("zero", "one", "two"), drain(queue()));
    }

    @Test
    void a_send_whose_answer_was_lost_in_a_stop_is_there_once() throws Exception {
        Send send = sender(queue());
        loseAnswer(() -> send.text("one"), () -> isIn(queue(), "one"), () -> {
            broker().stop();
            broker().startAgain();
        });
        send.text("two");
        equal(List.of("one", "two"), drain(queue()));
    }

    @Test
    void a_message_that_was_taken_before_its_send_was_answered_does_not_come_again() throws Exception {
        Send send = sender(queue());
        ActiveMQConnection other = connect();
        MessageConsumer consumer = auto(other).createConsumer(queue());
        loseAnswer(() -> send.text("one"), () -> consumer.receive(MOMENT) != null, () -> { });
        send.text("two");
        equal("two", takeText(consumer));
        nothing(consumer);
    }

    @Test
    void a_message_that_was_taken_before_a_crash_does_not_come_again_with_its_second_send() throws Exception {
        Send send = sender(queue());
        loseAnswer(() -> send.text("one"), () -> isIn(queue(), "one"), () -> {
            ActiveMQConnection other = connect();
            stored(other);
            equal("one", takeText(auto(other).createConsumer(queue())));
            stored(other);
            crash();
        });
        send.text("two");
        equal(List.of("two"), drain(queue()));
    }

    @Test
    void a_send_to_a_topic_whose_answer_was_lost_reaches_a_durable_subscriber_once() throws Exception {
        subscribeAndLeave(topic(), "durable");
        Send send = sender(topic());
        MessageConsumer watching = auto(connect()).createConsumer(topic());
        Callable<Boolean> seen = () -> watching.receive(MOMENT) != null;
        loseAnswer(() -> send.text("one"), seen, () -> { });
        send.text("two");
        equal("two", takeText(watching));
        loseAnswer(() -> send.text("three"), seen, this::crash);
        send.text("four");
        equal(List.of("one", "two", "three", "four"), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test(seconds = 120)
    void a_producer_that_loses_answers_again_and_again_sends_each_message_once_and_in_order() throws Exception {
        Send send = sender(queue());
        for (int i = 0; i < 60; i++) {
            String text = "" + i;
            if (i % 10 == 5) {
                loseAnswer(() -> send.text(text), () -> isIn(queue(), text), i % 20 == 5 ? this::crash : () -> { });
            } else {
                send.text(text);
            }
        }
        equal(numbers(0, 60), drain(queue()));
    }

    @Test
    void a_commit_whose_answer_was_lost_is_done_once_and_the_client_hears_that_it_is_in_doubt() throws Exception {
        Session session = transacted(reconnecting());
        inDoubt(session, () -> { });
        send(session, queue(), "next");
        session.commit();
        equal(List.of("0", "1", "2", "next"), drain(queue()));
    }

    @Test
    void a_commit_whose_answer_was_lost_in_a_crash_is_done_once() throws Exception {
        Session session = transacted(reconnecting());
        inDoubt(session, this::crash);
        send(session, queue(), "next");
        session.commit();
        equal(List.of("0", "1", "2", "next"), drain(queue()));
    }

    /** Commits three messages, of which the client does not hear. */
    private void inDoubt(Session session, Action meanwhile) throws Exception {
        sendPersistent(session, 0, 3);
        refused(TransactionRolledBackException.class,
                () -> loseAnswer(session::commit, () -> isIn(queue(), "2"), meanwhile));
    }

    @Test
    void a_transaction_that_a_crash_interrupts_is_sent_again_and_committed_once() throws Exception {
        Session session = transacted(reconnecting());
        sendPersistent(session, 0, 5);
        crash();
        sendPersistent(session, 5, 10);
        equal(List.of(), drain(queue()));
        session.commit();
        crash();
        equal(numbers(0, 10), drain(queue()));
    }

    @Test
    void what_a_transaction_took_before_a_crash_is_committed_once_or_comes_again() throws Exception {
        send(auto(connect()), queue(), numbers(0, 6).toArray(String[]::new));
        Session session = transacted(reconnecting());
        MessageConsumer consumer = session.createConsumer(queue());
        MessageProducer producer = session.createProducer(queue("moved"));
        List<String> moved = new ArrayList<>();
        for (int round = 0; moved.size() < 6; round++) {
            List<String> batch = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                Message message = take(consumer);
                producer.send(message);
                batch.add(((TextMessage) message).getText());
            }
            if (round == 0) {
                crash();
            }
            try {
                session.commit();
                moved.addAll(batch);
            } catch (TransactionRolledBackException rolledBack) {
                // What it took comes again.
            }
        }
        session.close();
        equal(numbers(0, 6), moved);
        equal(numbers(0, 6), drain(queue("moved")));
        equal(List.of(), drain(queue()));
    }

    @Test
    void an_acknowledgement_whose_answer_was_lost_is_done() throws Exception {
        send(auto(connect()), queue(), "one", "two");
        Session session = client(reconnecting("&jms.sendAcksAsync=false&jms.prefetchPolicy.all=1"));
        MessageConsumer consumer = session.createConsumer(queue());
        Message one = take(consumer);
        try {
            loseAnswer(one::acknowledge, () -> !isIn(queue(), "one"), this::crash);
        } catch (JMSException unmatched) {
            // It may hear that there is nothing to acknowledge any more.
        }
        session.close();
        equal(List.of("two"), drain(queue()));
    }

    // What the tests are made of.

    private interface Send {
        void text(String text) throws JMSException;
    }

    /** A producer that is there before answers are lost. */
    private Send sender(ActiveMQDestination to) throws Exception {
        Session session = auto(reconnecting());
        MessageProducer producer = session.createProducer(to);
        return text -> producer.send(session.createTextMessage(text));
    }

    private ActiveMQConnection reconnecting() throws Exception {
        return reconnecting("");
    }

    /** A connection through a proxy that can lose answers. */
    private ActiveMQConnection reconnecting(String options) throws Exception {
        proxy = closeAfter(new Proxy(broker().port()));
        return connectTo("failover:(" + proxy.url() + ")?" + RECONNECTING + options);
    }

    /** Runs the action until the broker has done it and loses the answer; gives the client a new connection. */
    private void loseAnswer(Action action, Callable<Boolean> done, Action meanwhile) throws Exception {
        proxy.holdAnswers();
        CompletableFuture<Void> answered = CompletableFuture.runAsync(() -> {
            try {
                action.run();
            } catch (Exception e) {
                throw new CompletionException(e);
            }
        });
        eventually("the broker did it", done);
        check(!answered.isDone(), "it was answered");
        proxy.refuse();
        proxy.release();
        meanwhile.run();
        proxy.admit();
        try {
            answered.get(SOON, TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            throw e.getCause() instanceof JMSException refusal ? refusal : e;
        }
    }

    private boolean isIn(ActiveMQQueue queue, String text) throws Exception {
        ActiveMQConnection connection = connect();
        QueueBrowser browser = auto(connection).createBrowser(queue);
        boolean found = false;
        for (Object message : Collections.list(browser.getEnumeration())) {
            found |= ((TextMessage) message).getText().equals(text);
        }
        connection.close();
        return found;
    }

    private void sendPersistent(Session session, int from, int to) throws Exception {
        send(session, queue(), numbers(from, to).toArray(String[]::new));
    }
}
