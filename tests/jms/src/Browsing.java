import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import javax.jms.MessageConsumer;
import javax.jms.Queue;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;

/** Queue browsers: they see what is there, take nothing, and end. */
final class Browsing extends JmsTest {
    @Test
    void an_empty_queue_shows_nothing() throws Exception {
        QueueBrowser browser = auto(connect()).createBrowser(queue());
        check(!browser.getEnumeration().hasMoreElements(), "it has elements");
    }

    @Test
    void messages_are_shown_in_order_and_stay() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 20);
        equal(numbers(0, 20), browse(session, queue(), null));
        equal(numbers(0, 20), browse(session, queue(), null));
        equal(numbers(0, 20), takeTexts(session.createConsumer(queue()), 20));
        equal(List.of(), browse(session, queue(), null));
    }

    @Test
    void one_browser_can_look_again() throws Exception {
        Session session = auto(connect());
        QueueBrowser browser = session.createBrowser(queue());
        equal(List.of(), texts(browser));
        send(session, queue(), "one");
        equal(List.of("one"), texts(browser));
        send(session, queue(), "two");
        equal(List.of("one", "two"), texts(browser));
    }

    @Test
    void thousands_of_messages_are_shown() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 3000);
        equal(numbers(0, 3000), browse(session, queue(), null));
    }

    @Test
    void a_browser_with_a_small_prefetch_sees_everything() throws Exception {
        Session session = auto(connect("jms.prefetchPolicy.queueBrowserPrefetch=3"));
        sendNumbers(session, queue(), 40);
        equal(numbers(0, 40), browse(session, queue(), null));
    }

    @Test
    void a_selector_chooses_what_is_shown() throws Exception {
        Session session = auto(connect());
        for (int i = 0; i < 10; i++) {
            TextMessage message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(queue()).send(message);
        }
        equal(List.of("2", "3"), browse(session, queue(), "i BETWEEN 2 AND 3"));
        equal(List.of(), browse(session, queue(), "i > 100"));
        equal(10, takeTexts(session.createConsumer(queue()), 10).size());
    }

    @Test
    void a_browsed_message_is_not_marked_as_redelivered() throws Exception {
        Session session = auto(connect());
        send(session, queue(), "one");
        browse(session, queue(), null);
        browse(session, queue(), null);
        javax.jms.Message message = take(session.createConsumer(queue()));
        equal(false, message.getJMSRedelivered());
        equal(1, deliveryCount(message));
    }

    @Test
    void what_a_consumer_holds_unacknowledged_is_still_shown() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "held", "waiting");
        take(session.createConsumer(queue()));
        equal(List.of("held", "waiting"), browse(auto(connection), queue(), null));
    }

    @Test
    void what_is_consumed_and_what_comes_while_browsing_does_not_disturb() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        sendNumbers(session, queue(), 200);
        MessageConsumer consumer = auto(connection).createConsumer(queue());
        QueueBrowser browser = session.createBrowser(queue());
        Enumeration<?> seen = browser.getEnumeration();
        List<String> texts = new ArrayList<>();
        for (int i = 0; seen.hasMoreElements() && i < 1000; i++) {
            texts.add(((TextMessage) seen.nextElement()).getText());
            if (i < 100) {
                equal("" + i, takeText(consumer));
            }
        }
        browser.close();
        equal("0", texts.get(0));
        List<String> sorted = new ArrayList<>(texts);
        sorted.sort(Collections.reverseOrder((a, b) -> Integer.parseInt(b) - Integer.parseInt(a)));
        equal(sorted, texts, "order");
        equal(numbers(100, 200), takeTexts(consumer, 100));
    }

    @Test
    void a_browser_that_is_closed_early_leaves_everything() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 100);
        QueueBrowser browser = session.createBrowser(queue());
        check(browser.getEnumeration().hasMoreElements(), "nothing to see");
        browser.close();
        equal(numbers(0, 100), takeTexts(session.createConsumer(queue()), 100));
    }

    @Test
    void two_browsers_see_the_same() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, queue(), 30);
        Enumeration<?> one = session.createBrowser(queue()).getEnumeration();
        Enumeration<?> two = session.createBrowser(queue()).getEnumeration();
        for (int i = 0; i < 30; i++) {
            check(one.hasMoreElements() && two.hasMoreElements(), "ends at " + i);
            equal("" + i, ((TextMessage) one.nextElement()).getText());
            equal("" + i, ((TextMessage) two.nextElement()).getText());
        }
        check(!one.hasMoreElements() && !two.hasMoreElements(), "there is more");
    }

    @Test
    void a_browser_does_not_keep_an_exclusive_consumer_from_working() throws Exception {
        Session session = auto(connect());
        MessageConsumer exclusive = session.createConsumer(option(queue(), "consumer.exclusive=true"));
        Enumeration<?> seen = session.createBrowser(queue()).getEnumeration();
        send(session, queue(), "one");
        equal("one", takeText(exclusive));
        check(!seen.hasMoreElements() || seen.nextElement() != null, "the browser shows null");
    }

    @Test
    void a_message_in_an_uncommitted_transaction_is_not_shown() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "hidden");
        equal(List.of(), browse(auto(connection), queue(), null));
        session.commit();
        equal(List.of("hidden"), browse(auto(connection), queue(), null));
    }

    private static List<String> browse(Session session, Queue queue, String selector) throws Exception {
        QueueBrowser browser = selector == null ? session.createBrowser(queue) : session.createBrowser(queue, selector);
        List<String> texts = texts(browser);
        browser.close();
        return texts;
    }

    private static List<String> texts(QueueBrowser browser) throws Exception {
        List<String> texts = new ArrayList<>();
        Enumeration<?> seen = browser.getEnumeration();
        while (seen.hasMoreElements()) {
            texts.add(((TextMessage) seen.nextElement()).getText());
        }
        return texts;
    }
}
